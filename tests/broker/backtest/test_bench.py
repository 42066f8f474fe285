import numpy as np
import pytest

from mlbroker.broker.backtest.bench import Bench, deadline_s, score
from mlbroker.broker.backtest.table import TrueJob


def job() -> TrueJob:
    return TrueJob(
        "j",
        "j",
        np.array([0, 1, 2, 3]),
        np.array([7200.0, 3600.0, 1800.0, 900.0]),
        np.array([0.5, 1.0, 4.0, 1.0]),
        np.array([True, True, True, False]),
    )


def test_a_probe_costs_set_up_and_a_minute_or_two_percent() -> None:
    bench = Bench(job(), 60.0, None)
    assert bench.probe(0) == 7200.0
    assert bench.spent_usd == pytest.approx(0.5 * (60 + 144) / 3600)
    assert bench.probe(3) is None
    assert bench.spent_usd == pytest.approx(0.5 * (60 + 144) / 3600 + (60 + 60) / 3600)
    assert bench.probed == [0, 3]


def test_times_are_not_for_looking_at() -> None:
    bench = Bench(job(), 60.0, None)
    public = [name for name in dir(bench) if not name.startswith("_")]
    assert not any("time" in name or "worked" in name for name in public)


def test_ratios_are_to_the_cheapest() -> None:
    bench = Bench(job(), 0.0, None)
    bench.probe(1)
    result = score(job(), bench, 2)
    assert result.best == 0  # equal to 1 in cost, and first
    assert result.cost_ratio == pytest.approx(2.0)
    assert result.all_in_ratio == pytest.approx((2.0 + 72 / 3600) / 1.0)
    assert result.deadline_met


def test_under_a_deadline_the_best_is_the_cheapest_in_time() -> None:
    limit = deadline_s(job(), 1.5, 60.0)
    assert limit == pytest.approx(1.5 * 1860)
    bench = Bench(job(), 60.0, limit)
    assert score(job(), bench, 2).best == 2
    assert score(job(), bench, 2).deadline_met
    slow = score(job(), bench, 0)
    assert not slow.deadline_met
    assert slow.cost_ratio < 1


@pytest.mark.parametrize("chosen", [None, 3])
def test_nothing_or_a_failure_counts_as_the_dearest_and_a_miss(chosen: int | None) -> None:
    result = score(job(), Bench(job(), 0.0, None), chosen)
    assert result.cost_ratio == pytest.approx(2.0)
    assert not result.deadline_met


def test_an_impossible_deadline_is_measured_by_the_fastest() -> None:
    bench = Bench(job(), 60.0, deadline_s(job(), 0.5, 60.0))
    result = score(job(), bench, 2)
    assert (result.best, result.deadline_met) == (2, False)


def test_scaling_lets_the_cheapest_run_so_long() -> None:
    scaled = job().scaled(10)
    assert scaled.time_s[0] == pytest.approx(36000)
    assert scaled.time_s[2] == pytest.approx(9000)
