"""Policies without a programme, played: the same model as the forecast of the one that has."""

from dataclasses import replace

import pytest

from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.auto import Auto
from mlbroker.policies.spot.forecast import Work, forecast
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.on_demand import OnDemand
from mlbroker.policies.spot.played import played
from mlbroker.policies.spot.programme import Question, solve
from mlbroker.policies.spot.rates import Rates
from mlbroker.profiles.job import SpotPolicy

TERMS = Terms(8.0, 11.0, 3.0, 0.1, 1 / 60, lost_h=0.1)
RATES = Rates(1.0, 2.0, 0.7)
SPOT_USD = 0.9


def test_a_job_may_name_every_policy_but_the_one_that_needs_no_spot() -> None:
    assert set(SpotPolicy) == set(POLICIES) - {"on-demand"}


def test_it_is_near_the_forecast_where_both_can_tell() -> None:
    question = Question(8.0, 11.0, 0.1, 0.1, 0.3, RATES.preemption, RATES.recovery, RATES.spare)
    work = Work(8.0)
    told = forecast(TERMS, SPOT_USD, RATES, solve(question), work)
    seen = played(TERMS, SPOT_USD, RATES, Auto, work, histories=40)
    assert seen.mean_usd == pytest.approx(told.mean_usd, rel=0.12)
    assert seen.finish_p50_h == pytest.approx(told.finish_p50_h, rel=0.1)
    assert seen.late == told.late == 0


def test_on_demand_costs_what_it_costs() -> None:
    seen = played(TERMS, SPOT_USD, RATES, OnDemand, Work(6.0), histories=4)
    # Work of six hours, of which the policy reckons with eight.
    assert seen.mean_usd == pytest.approx(3.0 * 6.1, abs=3.0 * 11.0 / 400)
    assert seen.on_demand_share == 1
    assert seen.late == 0


def test_work_beyond_what_was_reckoned_with_is_on_demand_and_may_be_late() -> None:
    tight = replace(TERMS, deadline_h=8.2)
    seen = played(tight, SPOT_USD, RATES, OnDemand, Work(9.0), histories=4)
    assert seen.mean_usd == pytest.approx(3.0 * 9.1)
    assert seen.late == 1


def test_the_same_question_has_the_same_answer() -> None:
    kind, work = POLICIES["greedy"], Work(8.0, 0.1)
    one, same = (played(TERMS, SPOT_USD, RATES, kind, work, histories=5) for _ in range(2))
    assert one == same
