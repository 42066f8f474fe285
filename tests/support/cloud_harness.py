"""How the conformance suite gets at a cloud: one harness each, one entry here for a new one.

A harness's module has a function `open_harness(folder)`, a context manager that yields one.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Protocol

from mlbroker.broker.clouds.interface import Cloud, Intent, Payload

HARNESSES = {
    "simulator": "tests.support.harness_simulator",
    "local": "tests.support.harness_local",
    "ssh": "tests.support.harness_ssh",
    "aws": "tests.support.aws.harness",
    "gcp": "tests.support.gcp.harness",
    "azure": "tests.support.azure.harness",
}
_REGIONS = {"local": "on-prem", "ssh": "on-prem", "gcp": "us-central1", "azure": "eastus"}
# Processes are found by their token: two test workers on one machine must not share one.
WORKER = secrets.token_hex(4)[1:]


class Harness(Protocol):
    """A cloud with nothing on it, and what makes its vendor misbehave.

    A fault that cannot happen to a cloud is named in `spared`, with the reason.
    """

    cloud: Cloud
    spared: dict[str, str]

    def now(self) -> datetime: ...
    def wait(self, seconds: float) -> None:
        """Let time pass at the vendor's: for real, or on its clock."""

    def reopened(self) -> Cloud:
        """The cloud as a later process opens it."""

    def type_name(self) -> str:
        """A machine type that can be had."""

    def payload(self, seconds: float, code: int = 0) -> Payload:
        """A job that takes so long and ends with this code."""

    def stranger(self) -> str:
        """A machine of somebody else's in the same place: its id."""

    def stranger_lives(self, machine_id: str) -> bool: ...
    def lose_answers(self, call: str, times: int) -> None: ...
    def lose_requests(self, call: str, times: int) -> None: ...
    def hide_new_machines(self, seconds: float) -> None: ...
    def fail_deletes(self, times: int) -> None: ...
    def run_out_of(self, what: str) -> None:
        """`capacity` or `quota` of the type."""


@contextmanager
def open_harness(name: str, folder: Path) -> Iterator[Harness]:
    """The harness of this cloud."""
    with import_module(HARNESSES[name]).open_harness(folder) as harness:
        yield harness


def make_intent(harness: Harness, cloud: str, number: int = 1, lifetime_s: float = 60) -> Intent:
    """An attempt on this cloud, to be killed after `lifetime_s`."""
    now = harness.now()
    return Intent(
        token=f"mlb-20261124-120000-{WORKER}{number}-1",
        run_id=f"20261124-120000-{WORKER}{number}",
        attempt=1,
        job="job",
        cloud=cloud,
        region=_REGIONS.get(cloud, "us-east-1"),
        zone=None,
        instance_type=harness.type_name(),
        market="on_demand",
        nodes=1,
        price_per_hour_usd=Decimal(1),
        intended_at=now,
        kill_at=now + timedelta(seconds=lifetime_s),
    )


class RealTime:
    """For harnesses whose vendor lives in real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        import time

        time.sleep(seconds)


__all__ = ["HARNESSES", "Harness", "RealTime", "make_intent", "open_harness"]
