"""What mlbroker asks of an engine that runs a service's replicas: it is told how many there may be.

An engine keeps its own autoscaler. mlbroker writes its settings (`export`), and of an engine that
can be asked and told at any time (`Switch`) it moves the maximum, always with an end: what was
raised falls back by itself, whoever is dead by then.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mlbroker.profiles.job import Job


class Ceiling(NamedTuple):
    """From `least` to `most` replicas, each for `target_rps` requests a second; over them at most
    `queue_per_replica` requests wait for each, and who comes then is answered 429.
    """

    least: int
    most: int
    target_rps: float
    queue_per_replica: int


class Export(NamedTuple):
    """An engine's file, and in words what of the ceiling it cannot hold."""

    text: str
    notes: tuple[str, ...] = ()


class Exporter(Protocol):
    """A module of this folder that writes an engine's file."""

    WORDS: str

    def export(self, job: Job, ceiling: Ceiling) -> Export:
        """InputError where the job lacks what the engine needs."""
        ...


class Life(NamedTuple):
    """A replica that is paid for, from and until when by the engine's clock. None: it runs."""

    name: str
    since_s: float
    until_s: float | None


class Seen(NamedTuple):
    """An engine at one moment, `now_s` by its own clock. None: it does not tell.

    `running` replicas are paid for, of which `ready` serve; it would have `wanted` without a
    maximum, for `requests_per_s`, those turned away included. `most` is its maximum now.
    `lives` are of all replicas that ran within the last `Switch.remembers_s`.
    `foreign` replicas are there that the engine did not start. `untold` is why the requests are
    not known, where that can be mended.
    """

    now_s: float
    running: int
    ready: int
    most: int
    lives: Sequence[Life] | None
    wanted: int | None = None
    requests_per_s: float | None = None
    foreign: int = 0
    untold: str | None = None


class Switch(Protocol):
    """A running engine whose maximum can be moved.

    What runs above a maximum is stopped within `slack_s`, and each replica that was started is paid
    for `minimum_s` at least. `cloud` and `region` are those of the books.
    """

    cloud: str
    region: str
    slack_s: float
    minimum_s: float
    remembers_s: float

    def look(self) -> Seen:
        """What it is now. CloudError where it does not answer."""
        ...

    def allow(self, least: int, most: int, until_s: float, then: int) -> None:
        """From `least`, where there may be so many, to at most `most` until the moment `until_s`
        (since 1970), and at most `then` from that on, which the engine must do by itself.

        Idempotent. CloudError where it may not have been heard.
        """
        ...
