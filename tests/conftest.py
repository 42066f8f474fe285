"""What holds for every test."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.support.postgres import Postgres
    from tests.support.slurm import Slurm

# A property is right or wrong; how long an example takes says how busy the machine is.
# One commit passes or fails every time: its examples follow from the test. `make test-anew` looks
# for others.
settings.register_profile(
    "mlbroker",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="TEST_ANEW" not in os.environ,
)
settings.load_profile("mlbroker")


@pytest.fixture(autouse=True)
def _leaves_no_variables() -> Iterator[None]:
    """A variable of ours that a test leaves behind would steer the tests after it."""
    before = _ours()
    yield
    left = _ours()
    for name in left.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    assert left == before, "the test changed the environment"


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """One server for all tests of a process; each takes a database of its own."""
    from tests.support.postgres import running_postgres

    with running_postgres(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def slurm() -> Iterator["Slurm"]:
    """One cluster for all tests of a process; the names of their jobs differ."""
    from tests.support.slurm import running_slurm

    with running_slurm() as cluster:
        yield cluster


@pytest.fixture
def own_postgres() -> Iterator["Postgres"]:
    """A server for this test alone, which keeps what it acknowledges: it may be killed."""
    from tests.support.postgres import running_postgres

    with running_postgres() as server:
        yield server


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("MLBROKER_")}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which tests were left out here, and what would bring them."""
    left_out: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        path, _, reason = report.longrepr
        left_out[reason.removeprefix("Skipped: ")].append(Path(path).name)
    for reason, files in sorted(left_out.items(), key=lambda each: -len(each[1])):
        where = ", ".join(sorted(set(files)))
        terminalreporter.write_line(f"{len(files)} left out, {reason} ({where})")
