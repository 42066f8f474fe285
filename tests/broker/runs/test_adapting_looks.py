"""What a look at a checkpoint makes of a run, from plain values."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.support.simulator import Service, SimCloud

from mlbroker.broker.clouds.guest_report import Figures, Status
from mlbroker.broker.ledger import Attempt, Run, State
from mlbroker.broker.runs.adapting import Adapting, began_at
from mlbroker.broker.runs.failover import goes_on, next_option
from mlbroker.broker.runs.forecast import Forecaster
from mlbroker.broker.runs.order import AdaptTerms, LaunchOption, Order, Predicted, as_told
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.batch import Batch, LearningRate, LrRule

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
# 3,600 steps of a second.
BATCH = Batch(100, 800, total_env="BATCH", rate=LearningRate("LR", 0.1, LrRule.SQRT))
BILL = Bill(Decimal(36), 1, vendor("sim").meter)
HERE = LaunchOption("sim", "r", "small", "on_demand", BILL)
THERE = replace(
    HERE, instance_type="large", bill=replace(BILL, price_per_hour_usd=Decimal(40)),
    predicted=Predicted(900, 1000, 1100, "measured"),
)  # fmt: skip
TERMS = AdaptTerms("batch", {"small": ((100, 2.0), (400, 2.0), (1600, 2.0))})
ORDER = Order(
    "r1", "job", (HERE, THERE), {}, steps=3600, batch=BATCH, adapt=TERMS,
    deadline_at=(BEGAN + timedelta(hours=2)).isoformat(),
)  # fmt: skip
NOISY = {"noise_told": "1e6 100"}


def attempt(number: int = 1, **fields: Any) -> Attempt:
    return Attempt(
        number, f"t{number}", "sim", "r", None, "small", "on_demand", 1, Decimal(36), BEGAN,
        BEGAN + timedelta(hours=10), Decimal(100), machine_id="m", started_at=BEGAN, **fields,
    )  # fmt: skip


def run_of(*attempts: Attempt, reserved: str = "400") -> Run:
    details = {"reserved_usd": reserved}
    return Run(
        "r1", "job", "u", None, State.RUNNING, Decimal(reserved), Decimal(reserved), BEGAN,
        details, attempts,
    )  # fmt: skip


def figures(training: Mapping[str, str] = NOISY, **fields: Any) -> Figures:
    """After ten minutes, of which one was for the start: 540 steps are done, 520 are saved."""
    points = tuple((step, float(step)) for step in range(20, 560, 20))
    told = {"points": points, "saved_s": 521.0, "training": training} | fields
    return Figures(540.0, **told)


def look(
    run: Run, seen: Figures, order: Order = ORDER, minutes: float = 10
) -> tuple[list[str], Any]:
    said: list[str] = []
    cloud: Any = SimCloud(Service())
    adapting = Adapting(order, lambda _: cloud, said.append)
    now = BEGAN + timedelta(minutes=minutes)
    first = adapting.look(run, seen, now)
    assert adapting.look(run, seen, now) is None, "a checkpoint is looked at once"
    return said, first


def test_it_goes_on_with_the_batch_that_saves_the_most() -> None:
    said, (kind, body) = look(run_of(attempt()), figures())
    assert (kind, body["why"]) == ("stop_requested", "adapt")
    to = body["to"]
    # 1600 is above what the job file allows. A step is twice as fast as measured, at each batch.
    assert (to["batch_size"], to["instance_type"]) == (400, "small")
    assert to["lr_scale"] == pytest.approx(2, rel=1e-3)
    # 3,060 s are left; of 3,080 s at four times the speed, and 80 s until the first steps.
    saved = (3060 - 3080 / 4 * (1e6 + 400) / (1e6 + 100) - 80) / 100
    assert to["reason"] == f"batch 100 → 400: saves {saved:.2f} USD"
    assert said == [f"It goes on from its checkpoint with {to['reason']}."]


@pytest.mark.parametrize(
    ("run", "seen", "says"),
    [
        (run_of(attempt()), figures({}), None),
        (run_of(attempt()), figures({"noise_told": "-3 100"}), None),
        (run_of(attempt()), figures({"noise_told": "inf 100"}), None),
        (run_of(attempt()), figures(saved_s=None), None),
        (run_of(attempt()), figures(points=()), None),
        # What another run had left: nobody knows how far it was.
        (run_of(attempt()), figures(resumed=True), None),
        (
            run_of(attempt()),
            figures({"noise_unknown": "several optimizers"}),
            "it keeps its batch: the gradient noise is unknown: several optimizers",
        ),
        (
            run_of(attempt()),
            figures(NOISY | {"noise_batch": "64"}),
            "the job was told batch 100 and trains with 64: it keeps that",
        ),
        # Ten minutes are spent of eleven.
        (
            run_of(attempt(), reserved="6.6"),
            figures(),
            "batch 100 → 400 would pay, and what is left of the cap does not pay it",
        ),
    ],
)
def test_it_stays_where_that_is_not_known_or_not_paid(
    run: Run, seen: Figures, says: str | None
) -> None:
    said, fact = look(run, seen)
    assert said == ([] if says is None else [says])
    assert fact == (None if says is None else ("noted", {"what": "adapt", "detail": says}))


def test_it_advises_where_it_may_not() -> None:
    order = replace(ORDER, adapt=replace(TERMS, how="advise"))
    said, (kind, _) = look(run_of(attempt()), figures(), order)
    assert kind == "noted"
    assert said[0].startswith("batch 100 → 400: saves")


def test_a_faster_machine_is_gone_on_with_where_it_may_move() -> None:
    order = replace(ORDER, adapt=AdaptTerms("move"))
    _, (_, body) = look(run_of(attempt()), figures(), order)
    assert body["to"]["instance_type"] == "large"
    assert body["to"]["reason"].startswith("small → large: saves")
    stayed = replace(order, adapt=AdaptTerms("batch"))
    assert look(run_of(attempt()), figures(), stayed) == ([], None)
    run = replace(run_of(attempt(why="adapt")), adapts_to=body["to"])
    assert goes_on(run, order)
    option = next_option(run, order, lambda _: False)
    assert option == THERE
    assert as_told(run, THERE).batch_size == 100


def changed(**second: Any) -> Run:
    first = attempt(why="adapt", figures=json.loads(json.dumps(asdict(figures()))))
    return run_of(first, attempt(2, batch_size=400, lr_scale=2.0, **second))


def test_what_changed_lately_stays() -> None:
    run = changed()
    began = began_at(ORDER, run)
    assert began == pytest.approx(520 / 3600)
    wide = replace(ORDER, adapt=AdaptTerms("batch", {"small": ((400, 2.0), (800, 2.0))}))
    # Each of its steps is four of the job's own: 40 of them are a twentieth of the work, not 20.
    soon, late = ([(n, float(n)) for n in range(1, until)] for until in (20, 60))
    for points, moves in ((soon, False), (late, True)):
        seen = figures(points=tuple(points), saved_s=points[-1][1])
        _, fact = look(run, seen, wide)
        assert (fact is not None) == moves


def test_progress_after_a_change_counts_in_steps_of_the_new_batch() -> None:
    run = changed()
    forecaster = Forecaster(ORDER, HERE, run)
    now = BEGAN + timedelta(minutes=20)
    shown = []
    for step, at_s in ((1, 10.0), (101, 110.0), (201, 210.0)):
        status = Status("running", elapsed_s=at_s, step=step, counted_by="torch")
        shown.append(forecaster.progress(run, status, now))
    # 900 steps of 400 are as many samples as 3,600 of 100, and 520 of these were saved.
    assert [(each.step, each.steps) for each in shown] == [(131, 900), (231, 900), (331, 900)]
    assert shown[-1].finish_at == now + timedelta(seconds=569)


def test_the_batch_is_kept_where_a_machine_of_its_kind_follows() -> None:
    run = changed(why="preempted")
    assert (as_told(run, HERE).batch_size, as_told(run, HERE).lr_scale) == (400, 2.0)
    assert as_told(run, THERE) == THERE
