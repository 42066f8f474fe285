"""Azure with everything that goes wrong: no leak, no second machine, never over the cap."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.support.azure.runs import AzureRuns
from tests.support.azure.server import StrictAzure, environment, serving
from tests.support.campaign import figures, size
from tests.support.zygote import Zygote

from mlbroker.broker.clouds.azure import AzureCloud
from mlbroker.broker.clouds.azure_calls import Calls
from mlbroker.broker.errors import MlbrokerError

SEEDS = size(5, 200)
DEATHS = size(8, 1000)
MONTH_S = 30 * 86400.0
CAP = "1.2"  # ten minutes of the machine, and its kill slack
_COUNT = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[StrictAzure]:
    with pytest.MonkeyPatch.context() as patch, serving(frozen=True) as world:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        # The library's own pauses between tries pass on the cloud's clock.
        patch.setattr("azure.core.pipeline.transport._base.time.sleep", world.clock.advance)
        patch.setattr("mlbroker.broker.clouds.azure_calls.WAIT_S", 5.0)
        yield world


@pytest.fixture(scope="module")
def calls(server: StrictAzure) -> Calls:
    return Calls()


def opened(server: StrictAzure, calls: Calls, home: Path) -> AzureRuns:
    server.calm()
    return AzureRuns(home, server, AzureCloud(calls))


def test_random_faults_leave_nothing_behind(
    server: StrictAzure, calls: Calls, tmp_path: Path
) -> None:
    with figures("azure-faults") as kept:
        outcomes: dict[str, int] = {}
        for seed in range(SEEDS):
            runs = opened(server, calls, tmp_path / str(seed))
            run_id = f"f{next(_COUNT)}"
            _misfortune(server, Random(seed))
            try:
                runs.launch(run_id, CAP)
            except MlbrokerError:
                outcomes["given up"] = outcomes.get("given up", 0) + 1
            server.faults.clear()
            runs.wind_up()
            server.clock.advance(7200)
            runs.check(run_id, cap=CAP)
            run = runs.ledger.run(run_id)
            assert run is not None
            outcomes[str(run.outcome)] = outcomes.get(str(run.outcome), 0) + 1
        leaks = sum(vm.gone_at is None for vm in server.vms())
        twice = sum(count > 1 for count in Counter(_tokens(server)).values())
        kept.update(seeds=SEEDS, leaks=leaks, double_launches=twice, **outcomes)
    assert (leaks, twice) == (0, 0)
    assert outcomes.get("succeeded", 0) > SEEDS / 5


@pytest.fixture(scope="module")
def zygote(server: StrictAzure) -> Iterator[Zygote]:
    zygote = Zygote("azure", server.url, environment(server.url))
    yield zygote
    zygote.close()


def test_a_client_killed_at_any_request_costs_no_more_than_its_cap(
    server: StrictAzure, calls: Calls, zygote: Zygote, tmp_path: Path
) -> None:
    billed: list[float] = []
    killed = 0
    with figures("azure-client-dead") as kept:
        for death in range(DEATHS):
            random = Random(death)
            runs = opened(server, calls, tmp_path / str(death))
            run_id = f"d{next(_COUNT)}"
            # A job without an end, on a machine whose own timer fails every third time.
            server.guest.job_s = None  # type: ignore[attr-defined]
            server.guest.timer = death % 3 > 0  # type: ignore[attr-defined]
            if random.random() < 0.3:
                server.arm.limits.capacity["*", "eastus", "*"] = 0
                server.arm.limits.at_once = random.random() < 0.5
            runs.reserve(run_id, CAP)
            server.doom.before = random.random() < 0.5
            server.doom.left = 1 + int(random.random() ** 2 * 120)
            killed += zygote.launch(runs.home, run_id) == -9
            server.doom.left = None
            # Nobody is there any more; a month goes by.
            server.clock.advance(MONTH_S)
            assert all(vm.gone_at for vm in server.vms())
            billed.append(runs.billed_usd(run_id))
            runs.wind_up()
            runs.check(run_id, cap=CAP)
        over = sum(usd > float(CAP) for usd in billed)
        dearest = max(billed)
        kept.update(
            deaths=DEATHS, killed=killed, over_the_cap=over, dearest_usd=round(dearest, 4),
            cap_usd=CAP,
        )  # fmt: skip
    assert over == 0
    assert killed >= DEATHS // 2
    assert dearest > float(CAP) / 2, "the cap was never put to the test"


def _tokens(world: StrictAzure) -> list[str]:
    return [vm.token for vm in world.vms() if not vm.is_failed]


def _misfortune(world: StrictAzure, random: Random) -> None:
    """A network and a vendor on a bad day."""
    faults, limits = world.faults, world.arm.limits
    faults.random = random
    faults.rate = random.choice((0.0, 0.02, 0.05, 0.1))
    faults.late_deletes = random.choice((0, 0, 1, 2))
    faults.stuck = random.choice((0, 0, 0, 1))
    faults.guests_may_delete = random.random() < 0.8
    world.arm.estate.hidden_s = random.choice((0.0, 5.0, 25.0))
    limits.at_once = random.random() < 0.5
    for region in ("eastus", "westeurope"):
        if random.random() < 0.25:
            limits.capacity["*", region, "*"] = 0
    if random.random() < 0.15:
        limits.quotas["lowPriorityCores", "eastus"] = 0
    if random.random() < 0.3:
        world.arm.evict_after_s = random.uniform(5, 200)
    world.guest.job_s = random.choice((20.0, 120.0, 300.0, None))  # type: ignore[attr-defined]
    world.guest.timer = random.random() < 0.8  # type: ignore[attr-defined]
