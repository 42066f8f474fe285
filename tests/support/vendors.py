"""The strict clouds, for tests of what every rented cloud must do: a new one is an entry here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud

VENDORS = {
    "aws": "tests.support.aws.vendor",
    "gcp": "tests.support.gcp.vendor",
    "azure": "tests.support.azure.vendor",
}
# Where a machine that shuts down bills on, and so has itself deleted.
DELETING = ("gcp", "azure")


@dataclass(frozen=True)
class Vendor:
    """How tests open one. `calls` are shared by a process, as opening them takes time.

    `make` and `delete` are the vendor's words for these requests. `sleeper` is the module of its
    library that sleeps between tries, and `waits` are limits in real time, shortened.
    """

    name: str
    says: str
    serving: Callable[..., AbstractContextManager[Any]]
    environment: Callable[[str, Path], dict[str, str]]
    calls: Callable[[], Any]
    cloud: Callable[..., Any]
    runs: type[CloudRuns]
    intent: Callable[..., Any]
    make: str
    delete: str
    sleeper: str
    # What a run costs that is soon over its cap, the kill slack included.
    small_cap: str
    # The list prices of a write to a bucket and of a read.
    request_usd: dict[str, Decimal]
    # How much later than the vendor the machine ends itself.
    timer_later_s: int = 0
    waits: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def standing(self, folder: Path, **how: Any) -> Iterator[StrictCloud]:
        """A loopback cloud of this vendor's, for this process; `folder` for its credentials."""
        with pytest.MonkeyPatch.context() as patch, self.serving(**how) as world:
            for name, value in self.environment(world.url, folder).items():
                patch.setenv(name, value)
            yield world

    @contextmanager
    def without_pauses(self, world: StrictCloud) -> Iterator[None]:
        """The pauses of its library between tries pass on the virtual clock."""
        with pytest.MonkeyPatch.context() as patch:
            time = SimpleNamespace(sleep=world.clock.advance, monotonic=monotonic)
            patch.setattr(f"{self.sleeper}.time", time)
            for name, seconds in self.waits.items():
                patch.setattr(name, seconds)
            yield


def vendor_named(name: str) -> Vendor:
    vendor: Vendor = import_module(VENDORS[name]).VENDOR
    return vendor
