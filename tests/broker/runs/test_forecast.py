"""The live view: forecasts from steps, warnings when they break cap or deadline, idle money."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from mlbroker.broker.cli.run_view import PlainView, progress_line
from mlbroker.broker.clouds.guest_report import Status
from mlbroker.broker.ledger import Attempt, Run, State
from mlbroker.broker.runs.forecast import Forecaster, overrun
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter

T0 = datetime(2026, 11, 24, 12, tzinfo=UTC)
CANDIDATE = LaunchOption("sim", "r", "m", "spot", Bill(Decimal(3600), 1, Meter()), watts=1000.0)


def run(kill_s: float = 1000) -> Run:
    attempt = Attempt(
        1, "t", "sim", "r", None, "m", "spot", 1, Decimal(3600), T0,
        T0 + timedelta(seconds=kill_s), Decimal(1000), started_at=T0,
    )  # fmt: skip
    return Run(
        "r1", "job", "u", None, State.RUNNING, Decimal(1000), Decimal(1000), T0, {}, (attempt,)
    )


def order(**fields: Any) -> Order:
    return Order("r1", "job", (CANDIDATE,), {}, **fields)


def watch(forecaster: Forecaster, *seen: tuple[float, int], kill_s: float = 1000) -> Any:
    progress = None
    for at, step in seen:
        status = Status("running", at, step)
        progress = forecaster.progress(run(kill_s), status, T0 + timedelta(seconds=at))
    assert progress is not None
    return progress


def test_the_end_is_forecast_from_the_pace() -> None:
    progress = watch(Forecaster(order(steps=100), CANDIDATE), (10, 1), (50, 21))
    # Two seconds a step, 79 left.
    assert progress.finish_at == T0 + timedelta(seconds=50 + 158)
    assert progress.total_usd == Decimal(208)
    assert progress.spent_usd == Decimal(50)
    assert progress.energy_kwh == pytest.approx(1000 * 50 / 3.6e6)
    assert overrun(progress) is None


@pytest.mark.parametrize(
    ("stated", "told", "counted_by", "last", "words"),
    [
        (10_000, 20, "tqdm@train.py:3", 21, "tqdm@train.py:3 tells of 20"),  # epochs
        (10_000, 20, "marker", 21, None),  # an epoch's total, as far as anybody knows
        (20, 10_000, "marker", 21, "marker tells of 10,000"),  # batches
        (20, None, "torch", 21, None),
        (20, None, "torch", 24, "torch has counted 24"),
        (100, 110, "torch", 21, None),
    ],
)
def test_steps_stated_in_another_unit_than_counted_are_no_forecast(
    stated: int, told: int | None, counted_by: str, last: int, words: str | None
) -> None:
    forecaster = Forecaster(order(steps=stated), CANDIDATE)
    for at, step in ((10, 1), (50, last)):
        status = Status("running", at, step, told, counted_by)
        progress = forecaster.progress(run(), status, T0 + timedelta(seconds=at))
    if words is None:
        assert progress.finish_at is not None
        assert (progress.steps, progress.disagreement) == (stated, None)
    else:
        assert (progress.steps, progress.finish_at) == (None, None)
        assert words in str(progress.disagreement)


def test_nothing_is_forecast_from_too_little() -> None:
    forecaster = Forecaster(order(steps=100), CANDIDATE)
    assert watch(forecaster, (10, 1), (11, 2)).finish_at is None
    assert watch(Forecaster(order(), CANDIDATE), (10, 1), (50, 21)).finish_at is None


def test_a_hanging_job_gets_no_rosier() -> None:
    forecaster = Forecaster(order(steps=100), CANDIDATE)
    before = watch(forecaster, (10, 1), (50, 21)).finish_at
    assert watch(forecaster, (100, 21)).finish_at >= before


def test_cap_and_deadline_are_told_apart() -> None:
    late = watch(Forecaster(order(steps=100), CANDIDATE), (10, 1), (50, 21), kill_s=100)
    text = overrun(late)
    assert text is not None
    assert "the cap ends it" in text
    deadline = (T0 + timedelta(seconds=150)).isoformat()
    missed = watch(Forecaster(order(steps=100, deadline_at=deadline), CANDIDATE), (10, 1), (50, 21))
    text = overrun(missed)
    assert text is not None
    assert "after the deadline" in text


def test_idle_time_is_shown_as_money() -> None:
    forecaster = Forecaster(order(), CANDIDATE)
    status = Status("running", elapsed_s=300.0, idle_s=200.0, cpu=0.0)
    progress = forecaster.progress(run(), status, T0 + timedelta(seconds=300))
    assert progress.idle_usd == Decimal(200)
    assert "IDLE for 0:03:20, 200.0000 USD for nothing" in progress_line(progress)


def test_that_the_checkpoint_is_not_saved_stands_in_the_line() -> None:
    status = Status(
        "running", checkpoint_fault="the checkpoint was not saved: Read-only file system"
    )
    progress = Forecaster(order(), CANDIDATE).progress(run(), status, T0)
    assert "CHECKPOINT NOT SAVED" in progress_line(progress)
    assert "NOT SAVED" not in progress_line(watch(Forecaster(order(), CANDIDATE), (10, 1)))


def test_the_line_tells_phase_steps_money_and_forecast() -> None:
    progress = watch(Forecaster(order(steps=100), CANDIDATE), (10, 1), (50, 21))
    line = progress_line(progress)
    for part in ("running", "0:00:50", "21/100", "50.0000 of 1000 USD", "for 208.0000 USD", "kWh"):
        assert part in line


@pytest.mark.parametrize(
    ("wish", "answer"), [("stop", "overrun"), ("move", "move"), ("ask", None), (None, None)]
)
def test_what_is_done_about_an_overrun(
    wish: str | None, answer: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PlainView().overrun(run(), wish) == answer
    if answer is None:
        assert "mlbroker stop r1" in capsys.readouterr().err
