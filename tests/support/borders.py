"""Requests by which one machine would reach over to another run: each vendor says its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import requests
from tests.support.mlbroker import PATIENCE_S
from tests.support.strict import StrictCloud

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.seats import Seat


class Neighbour(NamedTuple):
    """A run with a machine that is alive."""

    intent: Intent
    seat: Seat
    vm: Any


@dataclass(frozen=True)
class Ask:
    """One request, as a machine would make it."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def status(self, world: StrictCloud, vm: Any, token: str = "guest-{}") -> int:
        """What this machine is answered."""
        answer = requests.request(
            self.method,
            world.url + self.path,
            data=self.body,
            headers={"Authorization": f"Bearer {token.format(vm.id)}", **self.headers},
            timeout=PATIENCE_S,
        )
        return answer.status_code


def asks_of_files(inside: str, headers: Mapping[str, str] | None = None) -> dict[str, Ask]:
    """For the files of the run whose folder is at `inside`; `headers` go with what is written."""
    given = headers or {}
    return {
        "reads its job": Ask("GET", f"{inside}/spec.json"),
        "reads its report": Ask("GET", f"{inside}/0/report.json"),
        "puts a program": Ask("PUT", f"{inside}/guest.pyz", b"evil", given),
        "puts a report": Ask("PUT", f"{inside}/0/report.json", b"{}", given),
        "asks it to stop": Ask("PUT", f"{inside}/stop", b"finished", given),
    }


class Borders(NamedTuple):
    """What a machine may do of its own run and of no other, by what it is.

    `own` is in the order in which it can be done; `nobodys` no machine may do. `far` is another
    region, whose seats have the same numbers. `writes` is what writing an object is called,
    `sold_out` says what is sold out so that an option is.
    """

    own: Callable[[Neighbour], dict[str, Ask]]
    nobodys: Callable[[Neighbour], dict[str, Ask]]
    far: tuple[str, str]
    writes: str
    sold_out: Callable[[Any], str]
