"""Where a run that may move goes: to another machine of its order, if that is worth a restart."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.sim_runs import CANDIDATES, SimRuns
from tests.support.simulator import EPOCH

from mlbroker.broker.clouds.guest_report import Figures
from mlbroker.broker.ledger import Run, State
from mlbroker.broker.runs.adapting import Adapting
from mlbroker.broker.runs.order import AdaptTerms, LaunchOption, Order, Predicted
from mlbroker.profiles.batch import Batch

STEPS, SIZE = 10_000, 100
# A step of a second, seen for ten minutes and saved at the last: 2.6 h of 2.8 h are left.
FIGURES = Figures(
    command_s=600.0,
    setup_s=1.0,
    points=tuple((at, float(at)) for at in range(50, 601, 50)),
    steps=STEPS,
    saved_s=600.0,
    training={"noise_told": "500 100"},
)


def candidate(number: int, hours: float | None, price: int) -> LaunchOption:
    one = CANDIDATES[number]
    seconds = None if hours is None else hours * 3600
    told = seconds and Predicted(seconds, seconds, seconds, "measured")
    bill = replace(one.bill, price_per_hour_usd=Decimal(price))
    return replace(one, market="on_demand", predicted=told, bill=bill)


def asked(
    sim: SimRuns, how: str, deadline_h: float, hours: float | None, price: int, cap: str = "100"
) -> tuple[dict[str, Any] | None, list[str]]:
    """What a run on `small` at a dollar an hour asks for, `medium` taking `hours` for all of it."""
    options = (candidate(0, 2.8, 1), candidate(1, hours, price))
    order = Order(
        "r1", "job", options, {}, steps=STEPS, batch=Batch(SIZE, 400, total_env="B"),
        adapt=AdaptTerms(how), deadline_at=(EPOCH + timedelta(hours=deadline_h)).isoformat(),
    )  # fmt: skip
    sim.candidates = options
    sim.reserve(cap=cap)
    driver = sim.driver(secrets={})
    run: Run = driver.advance("r1")
    while run.state is not State.RUNNING:
        run = driver.advance("r1")
    said: list[str] = []
    fact = Adapting(order, sim.opened, said.append).look(
        run, FIGURES, run.attempt.began_at + timedelta(seconds=620)
    )
    return (None if fact is None or fact[0] == "noted" else fact[1]), said


@pytest.fixture
def long(tmp_path: Path) -> SimRuns:
    sim = SimRuns(tmp_path)
    with sim.service.world() as world:
        world.job_s = 1e6
    return sim


def test_a_faster_machine_keeps_the_deadline_that_staying_misses(long: SimRuns) -> None:
    wish, [said] = asked(long, "move", 2.0, hours=1.0, price=4)
    assert wish is not None
    assert wish["why"] == "adapt"
    assert (wish["to"]["instance_type"], wish["to"]["batch_size"]) == ("medium", SIZE)
    assert "medium" in said
    assert "miss the deadline" in said


def test_a_dearer_machine_is_not_worth_it_where_there_is_time(long: SimRuns) -> None:
    assert asked(long, "move", 10.0, hours=1.0, price=4) == (None, [])


def test_a_cheaper_way_is(long: SimRuns) -> None:
    wish, _ = asked(long, "move", 10.0, hours=1.0, price=1)
    assert wish is not None


def test_who_may_change_the_batch_alone_stays_on_its_machine(long: SimRuns) -> None:
    assert asked(long, "batch", 2.0, hours=1.0, price=4)[0] is None


def test_a_machine_of_which_nobody_knows_the_time_is_none_to_go_to(long: SimRuns) -> None:
    wish, _ = asked(long, "move", 2.0, hours=None, price=1)
    assert wish is None


def test_what_the_cap_does_not_pay_is_said_once_and_not_done(long: SimRuns) -> None:
    wish, said = asked(long, "move", 2.0, hours=1.0, price=4, cap="3")
    assert wish is None
    assert any("what is left of the cap does not pay it" in text for text in said)
