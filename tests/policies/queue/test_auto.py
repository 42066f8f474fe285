"""The index rule, on cases small enough to see the answer."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.queues import CLOUD, HOUR_S, job, site, state, true

from mlbroker.policies.queue.auto import Auto, index_usd_per_place_h2, last_safe_s
from mlbroker.policies.queue.interface import (
    Action,
    Decision,
    Decisions,
    Running,
    State,
    Team,
    opportunity_usd_per_place_h,
)
from mlbroker.policies.queue.replay import Site, TrueJob, play


def decide(*arguments: Any, **more: Any) -> dict[str, Decision]:
    return {change.job_id: change for change in Auto().decide(state(*arguments, **more)).changes}


def actions(*arguments: Any, **more: Any) -> dict[str, str]:
    return {name: change.action.value for name, change in decide(*arguments, **more).items()}


def test_the_index_is_the_value_of_waiting_by_the_place_hours_that_end_it() -> None:
    assert index_usd_per_place_h2(job("a", 2.0, places=3, value_usd_per_h=12.0)) == 2.0
    waits = [job("slow", 4.0), job("dear", 4.0, value_usd_per_h=3.0), job("short", 2.0)]
    assert Auto().decide(state(waits, places=0)).order == ("dear", "short", "slow")


def test_a_captured_place_costs_what_all_who_wait_lose_by_it() -> None:
    waits = [job("a", value_usd_per_h=10.0), job("b", value_usd_per_h=2.0)]
    assert opportunity_usd_per_place_h(state(waits, job("c"), places=4)) == 3.0
    assert opportunity_usd_per_place_h(state([], places=4)) == 0


def test_preemption_needs_half_as_much_again() -> None:
    runs = job("runs", 3.0)
    assert actions([job("like", 2.01)], runs) == {}
    assert actions([job("short", 1.99)], runs) == {"runs": "yield", "short": "start"}
    assert "short comes before it" in decide([job("short", 1.0)], runs)["runs"].reason
    for held in (
        runs._replace(preemptible=False),
        runs._replace(promoted=True),
        Running(runs, "a", can_yield=False),
    ):
        assert actions([job("short", 0.1)], held) == {}


def test_a_gang_is_not_stopped_for_one_that_earns_less_than_it_does() -> None:
    gang = job("gang", 4.0, places=8, value_usd_per_h=8.0)  # .25 a place, 2 in all
    assert actions([job("small", 1.0)], gang, places=8) == {}
    assert actions([job("small", 0.4)], gang, places=8) == {"gang": "yield", "small": "start"}


def test_who_yields_is_the_least_and_nobody_in_vain() -> None:
    runs = [job("w4", 8.0, places=4), job("w1", 8.0), job("dear", 8.0, value_usd_per_h=50.0)]
    assert actions([job("four", 1.0, places=4, value_usd_per_h=9.0)], *runs, places=6) == {
        "w4": "yield",
        "four": "start",
    }


def test_at_the_last_safe_moment_a_job_gets_places_for_good() -> None:
    due = job("due", 1.0, left_p90_h=2.0, value_usd_per_h=0.01, setup_h=0.5, deadline_s=9_000.0)
    at = state([due], places=100, tick_h=0.1)
    # One that delays nobody by much is all but sure to be in time.
    small_h, large_h = 2 ** (2.33 / 1.2816), 2 ** (1.1 / 1.2816)
    assert last_safe_s(due, at) == pytest.approx(9_000 - HOUR_S * (small_h + 0.6))
    one = at._replace(pools={"a": 1})
    assert last_safe_s(due, one) == pytest.approx(9_000 - HOUR_S * (large_h + 0.6))
    # Here it is set up in 30 minutes, in the cloud in 10: both must be open until then.
    there = one._replace(cloud=CLOUD)
    assert last_safe_s(due, there) == last_safe_s(due, one)
    runs = [job("runs", 1.0, value_usd_per_h=99.0)]
    before = Auto().decide(state([due], *runs, now_s=-9_999.0))
    assert before.changes == ()
    assert before.look_again_s == pytest.approx(9_000 - HOUR_S * (large_h + 0.5))
    then = decide([due], *runs, now_s=before.look_again_s)
    assert then["due"].action is Action.START
    assert then["due"].promoted
    assert then["runs"].action is Action.YIELD


def test_a_running_job_whose_deadline_leaves_no_time_is_kept() -> None:
    runs = job("runs", 2.0, value_usd_per_h=0.01, deadline_s=2.5 * HOUR_S)
    assert actions([job("dear", 0.5, value_usd_per_h=9.0)], runs, places=1) == {
        "runs": "yield",
        "dear": "start",
    }
    kept = decide([job("dear", 0.5, value_usd_per_h=9.0)], runs, now_s=0.5 * HOUR_S)
    assert (kept["runs"].action, kept["runs"].promoted) == (Action.KEEP, True)
    assert list(kept) == ["runs"]


def test_a_due_job_goes_to_the_cloud_where_its_places_cost_others_more() -> None:
    due = job("due", 1.0, left_p90_h=1.1, deadline_s=1.2 * HOUR_S)
    few = [job("a", 9.0, value_usd_per_h=2.0)]
    many = [job(f"m{n}", 9.0, value_usd_per_h=2.0) for n in range(3)]
    runs = job("runs", 1.0, value_usd_per_h=9.0)
    assert decide([due, *few], runs, cloud=CLOUD)["due"].action is Action.START
    rented = decide([due, *many], runs, cloud=CLOUD)["due"]
    assert rented.action is Action.BURST
    assert rented.reason == ("its deadline leaves no time to wait; the cloud costs about 3.57 USD")
    later = decide([due, *many], runs, now_s=0.12 * HOUR_S)["due"]
    assert later.action is Action.START, "there is no cloud"
    fixed = runs._replace(preemptible=False)
    assert decide([due], fixed, cloud=CLOUD)["due"].action is Action.BURST
    assert decide([due], fixed) == {}


def test_a_hopeless_deadline_moves_nobody_and_rents_nothing() -> None:
    past = job("past", 1.0, deadline_s=-5.0)
    assert actions([past], job("runs", 1.0), cloud=CLOUD) == {}
    assert actions([past], places=1) == {"past": "start"}


def test_waiting_is_rented_away_where_it_costs_more() -> None:
    runs = job("runs", 2.0, preemptible=False)
    # 3.57 USD in the cloud; 2 h of waiting, less ten minutes of set-up.
    assert actions([job("a", value_usd_per_h=1.9)], runs, cloud=CLOUD) == {}
    assert actions([job("a", value_usd_per_h=2.0)], runs, cloud=CLOUD) == {"a": "burst"}
    behind = [job("a", value_usd_per_h=1.0), job("b", 10.0, value_usd_per_h=1.8)]
    assert actions(behind, runs, cloud=CLOUD) == {"a": "burst"}


def test_a_team_pays_the_cloud_up_to_its_cap() -> None:
    runs = job("runs", 9.0, preemptible=False)
    waits = [job(name, value_usd_per_h=5.0, team="t") for name in "ab"]
    for left_usd, gone in ((None, 2), (7.2, 2), (7.0, 1), (3.5, 0)):
        teams = {"t": Team(cloud_usd_left=left_usd)}
        assert len(actions(waits, runs, cloud=CLOUD, teams=teams)) == gone


def test_who_has_more_than_its_share_comes_after_others() -> None:
    teams = {"a": Team(share=0.5), "b": Team(share=0.5)}
    waits = [job("a2", 0.1, team="a"), job("b1", 9.0, team="b")]
    assert actions(waits, job("a1", 0.1, team="a"), places=2, teams=teams) == {"b1": "start"}
    alone = [job("a2", team="a")]
    assert actions(alone, job("a1", team="a"), places=2, teams=teams) == {"a2": "start"}


def test_without_predictions_the_least_attained_comes_first() -> None:
    waits = [job("old", None, attained_h=3.0), job("new", None), job("half", None, attained_h=0.5)]
    assert Auto().decide(state(waits, places=0)).order == ("half", "new", "old")


def test_a_gang_larger_than_the_site_is_rented_or_waits() -> None:
    wide = job("wide", 1.0, places=9, value_usd_per_h=0.0)
    assert actions([wide], places=8, cloud=CLOUD) == {"wide": "burst"}
    assert actions([wide], places=8) == {}


@st.composite
def traces(draw: st.DrawFn) -> tuple[list[TrueJob], Site]:
    count = draw(st.integers(1, 25))
    at_h, jobs = 0.0, []
    for number in range(count):
        at_h += draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.0]))
        hours = draw(st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0]))
        slack_h = draw(st.sampled_from([None, 0.5, 1.0, 4.0]))
        jobs.append(
            true(
                f"j{number}", at_h, hours, draw(st.sampled_from([1, 1, 2, 4])),
                value_usd_per_h=draw(st.sampled_from([0.0, 0.2, 1.0, 10.0])),
                deadline_s=None if slack_h is None else HOUR_S * (at_h + hours + slack_h),
                preemptible=draw(st.booleans()),
            )
        )  # fmt: skip
    return jobs, site(draw(st.sampled_from([4, 6])), restart_s=draw(st.sampled_from([0.0, 120.0])))


@given(traces())
@settings(max_examples=60, deadline=None)
def test_with_a_cloud_no_deadline_that_can_be_kept_is_missed(
    case: tuple[list[TrueJob], Site],
) -> None:
    """Where predictions hold, and 30 minutes are left at submission."""
    jobs, place = case
    promoted: set[str] = set()

    def watch(_: State, made: Decisions) -> None:
        for change in made.changes:
            assert not (change.action is Action.YIELD and change.job_id in promoted)
            if change.promoted:
                promoted.add(change.job_id)

    for each in play(jobs, place, Auto(), watch):
        assert each.finish_s is not None
        assert each.job.preemptible or each.preemptions == 0
        if each.job.deadline_s is not None:
            assert each.finish_s <= each.job.deadline_s + 1e-6


def test_what_is_a_teams_own_is_given_back_at_a_checkpoint_and_not_taken() -> None:
    teams = {"a": Team(share=0.5), "b": Team(share=0.5)}
    dear, cheap = {"value_usd_per_h": 50.0}, {"value_usd_per_h": 1.0}
    held = [job("a1", team="a", **dear), job("a2", 2.0, team="a", **dear)]
    # b wants what is its own, however little its waiting costs; of a's the least yields.
    assert actions([job("b1", 9.0, team="b", **cheap)], *held, places=2, teams=teams) == {
        "a2": "yield",
        "b1": "start",
    }
    fair = [job("a1", team="a", **cheap), job("b1", 9.0, team="b", **cheap)]
    assert actions([job("a2", team="a", **dear)], *fair, places=2, teams=teams) == {
        "a1": "yield",
        "a2": "start",
    }, "a's own place it may take, b's it may not"
    fixed = fair[0]._replace(preemptible=False)
    assert actions([job("a2", team="a", **dear)], fixed, fair[1], places=2, teams=teams) == {}
    # Who has taken back what is its own is not asked for it again.
    after = [held[0], job("b1", 9.0, team="b", **cheap)]
    assert actions([held[1]], *after, places=2, teams=teams) == {}
