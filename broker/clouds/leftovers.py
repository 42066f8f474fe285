"""What may be left of an attempt at its cloud: asked for anew, whoever said that it was removed.

A cloud's `proof` module has `remains(intent, machine_id, secrets_at)`: looks by what they
look for, each of which tells the names of what is still there; and `ended_by(intent, machine_id)`:
who ended the machine, as the vendor tells it, None while it does not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mlbroker.broker.clouds.bucket import store_errors
from mlbroker.broker.clouds.interface import Intent, MachineState
from mlbroker.broker.clouds.rented import RentedCloud
from mlbroker.broker.clouds.seats import SeatedCloud

Looks = Mapping[str, Callable[[], Sequence[str]]]


class Ender(NamedTuple):
    """Whether it was something outside of the machine; None where that is not clear."""

    outside: bool | None
    says: str


def common(
    cloud: RentedCloud, intent: Intent, names: Sequence[str]
) -> dict[str, Callable[[], Sequence[str]]]:
    """The machine, its files and its seat; `names` are those that its folders bear."""

    def machine() -> list[str]:
        found = cloud.find(intent.tags)
        return [one.id for one in found if one.state is not MachineState.TERMINATED]

    looks: dict[str, Callable[[], Sequence[str]]] = {
        "machine": machine,
        "files in the bucket": lambda: _stored(cloud, intent, names),
    }
    if isinstance(cloud, SeatedCloud):
        seated: SeatedCloud = cloud
        looks["seat"] = lambda: [
            seat.number
            for seat in seated.leases(intent.region).values()
            if seat.token == intent.token
        ]
    return looks


def _stored(cloud: RentedCloud, intent: Intent, names: Sequence[str]) -> list[str]:
    import obstore

    store, where = cloud.bucket(intent.region)
    with store_errors(where, cloud.how_to_set_up(intent.region)):
        return [
            meta["path"]
            for folder in ("runs", "machines")
            for batch in obstore.list(store, folder)
            for meta in batch
            if any(name in meta["path"] for name in names)
        ]
