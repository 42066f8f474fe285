"""The forecast, held against the programme that it plays and against the replay of the policy."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.spot_traces import trace

from mlbroker.policies.outcome import Outcome
from mlbroker.policies.spot.auto import Auto
from mlbroker.policies.spot.forecast import Forecast, Work, forecast
from mlbroker.policies.spot.hazards import (
    AGES_H,
    PREEMPTIONS_PER_H,
    RECOVERIES_PER_H,
    age_class,
    level,
)
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.programme import Question, solve
from mlbroker.policies.spot.rates import LEAST, MOST, Rates, usual_rates
from mlbroker.policies.spot.replay import Trace, play

SPOT_USD = 0.6
AMPLE = Terms(10.0, 15.0, 2.0, 0.05, 1 / 60, 0.15)
TIGHT = replace(AMPLE, deadline_h=11.0)
OFTEN = Rates(preemption=1.0, recovery=1.0, spare=0.0)


def question(terms: Terms, rates: Rates) -> Question:
    return Question(
        terms.work_h, terms.deadline_h, terms.restart_h, terms.lost_h,
        SPOT_USD / terms.on_demand_usd_per_h, rates.preemption, rates.recovery, rates.spare,
        overlaps=terms.overlaps,
    )  # fmt: skip


def forecast_of(terms: Terms, rates: Rates = OFTEN, work: Work | None = None) -> Forecast:
    return forecast(terms, SPOT_USD, rates, solve(question(terms, rates)), work, 1000)


def one_at_a_time(terms: Terms) -> Terms:
    return replace(terms, overlaps=False)


EACH = [AMPLE, TIGHT, one_at_a_time(AMPLE), one_at_a_time(TIGHT)]


@pytest.mark.parametrize("terms", EACH)
@pytest.mark.parametrize("rates", [OFTEN, Rates(1.0, 2.25, 0.7)])
def test_the_mean_is_the_programmes_own_value_and_nobody_is_late(
    terms: Terms, rates: Rates
) -> None:
    found = forecast_of(terms, rates)
    value_h = solve(question(terms, rates)).value_h(terms.deadline_h - terms.work_h, terms.work_h)
    assert found.mean_usd == pytest.approx(value_h * terms.on_demand_usd_per_h, rel=0.04)
    assert found.late == 0
    assert found.finish_p90_h <= terms.deadline_h + 1e-9
    assert found.mean_usd <= terms.on_demand_usd_per_h * (terms.work_h + terms.restart_h)


def drawn(ticks: int, tick_h: float, seed: int) -> Trace:
    """One zone with the programme's own hazards; a machine is there, and has been for two hours."""
    random = np.random.default_rng(seed)
    up, age_h, flags = True, 2.0, []
    for _ in range(ticks):
        flags.append([up])
        rate = (PREEMPTIONS_PER_H if up else RECOVERIES_PER_H)[age_class(age_h)]
        age_h += tick_h
        if random.random() < 1 - np.exp(-rate * tick_h):
            up, age_h = not up, 0.0
    return trace(flags, tick_h, SPOT_USD)


@pytest.mark.parametrize("terms", EACH)
def test_the_mean_is_what_the_policy_pays_on_traces_of_the_same_hazards(terms: Terms) -> None:
    terms = replace(terms, tick_h=0.1)
    ticks = int(terms.deadline_h / terms.tick_h) + 1
    played = [play(drawn(ticks, 0.1, seed), 0, terms, Auto()) for seed in range(60)]
    assert all(one.finished_h and one.finished_h <= terms.deadline_h + 1e-9 for one in played)
    usd = np.array([one.cost_usd for one in played])
    error = 3 * usd.std() / np.sqrt(len(usd))
    assert forecast_of(terms).mean_usd == pytest.approx(usd.mean(), abs=error + 0.05 * usd.mean())


def test_the_same_question_has_the_same_answer() -> None:
    assert forecast_of(AMPLE) == forecast_of(AMPLE)


def test_less_time_costs_more_and_has_more_of_it_on_demand() -> None:
    ample, tight = forecast_of(AMPLE), forecast_of(TIGHT)
    assert ample.mean_usd < tight.mean_usd
    assert ample.on_demand_share < tight.on_demand_share
    assert tight.p90_usd >= tight.mean_usd


def test_one_machine_at_a_time_costs_more_where_slack_is_short() -> None:
    brief = replace(AMPLE, deadline_h=10.4, restart_h=0.1)
    assert forecast_of(one_at_a_time(brief)).mean_usd > forecast_of(brief).mean_usd
    assert forecast_of(one_at_a_time(AMPLE)).mean_usd < 1.02 * forecast_of(AMPLE).mean_usd


def test_work_that_takes_longer_than_reckoned_with_is_late_and_no_other() -> None:
    """The policy reckons with the work that nine of ten do not exceed: so many are in time."""
    work = Work(8.0, 0.17)
    sure_h = Outcome(8.0, 0.17, 0.0).quantile_s(0.9)
    found = forecast_of(replace(TIGHT, work_h=sure_h, deadline_h=sure_h + 0.6), OFTEN, work)
    assert 0 < found.late <= 0.1


def test_published_interruptions_become_bounded_factors() -> None:
    def factor(rate: float | None, has_gpu: bool = True, nodes: int = 1) -> float:
        return usual_rates(rate, has_gpu=has_gpu, nodes=nodes, one_zone=True).preemption

    assert factor(None) == 1.0
    assert factor(None, has_gpu=False) == level(0.25)
    assert factor(0.05) == level(LEAST)
    assert factor(None, nodes=50) == level(MOST)
    assert level(LEAST) < factor(0.9) < factor(0.99) < level(MOST)
    assert usual_rates(None, has_gpu=True, nodes=1, one_zone=False).spare > 0


def test_classes_of_age_are_those_of_the_programme() -> None:
    assert len(AGES_H) == len(PREEMPTIONS_PER_H) == solve(question(AMPLE, OFTEN)).spot.shape[1]
