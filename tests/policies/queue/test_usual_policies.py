"""What others do, on cases small enough to see the answer."""

import pytest
from tests.support.queues import CLOUD, HOUR_S, job, site, state, true

from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.interface import Action, Running, Team
from mlbroker.policies.queue.replay import Ended, play


def decided(name: str, *arguments: object, **more: object) -> dict[str, str]:
    made = POLICIES[name]().decide(state(*arguments, **more))  # type: ignore[arg-type]
    return {change.job_id: change.action.value for change in made.changes}


# Four places of which three are busy for two hours; first in line is a gang of four.
BUSY = job("busy", 2.0, places=3, preemptible=False)
GANG = job("gang", 1.0, places=4, submitted_s=-30.0)
SHORT = job("short", 2.0, submitted_s=-20.0)
LONG = job("long", 2.1, submitted_s=-10.0)


def test_first_in_first_out_passes_nobody() -> None:
    assert decided("fifo", [GANG, SHORT], BUSY, places=4) == {}
    assert decided("fifo", [GANG, SHORT], places=5) == {"gang": "start", "short": "start"}


@pytest.mark.parametrize("name", ["easy", "multifactor-easy"])
def test_backfill_delays_the_first_in_line_by_nothing(name: str) -> None:
    assert decided(name, [GANG, LONG, SHORT], BUSY, places=4) == {"short": "start"}
    assert decided(name, [GANG, LONG], BUSY, places=4) == {}


def test_backfill_uses_what_the_reservation_leaves() -> None:
    assert decided("easy", [GANG, LONG], BUSY, places=5) == {"long": "start"}
    twice = [GANG, LONG, LONG._replace(id="long 2")]
    assert decided("easy", twice, BUSY, places=6) == {"long": "start", "long 2": "start"}
    three = job("three", 9.0, places=3)
    assert decided("easy", [GANG, three], BUSY, places=6) == {}


def test_the_smallest_first_counts_places() -> None:
    wide, narrow = job("wide", 1.0, places=4), job("narrow", 3.0)
    assert decided("spf", [wide, narrow], places=4) == {"narrow": "start"}


def test_priority_is_of_age_and_of_teams_that_used_little() -> None:
    teams = {"much": Team(used_place_h=90.0), "little": Team(used_place_h=10.0)}
    mine, theirs = job("mine", team="much", submitted_s=-60), job("theirs", team="little")
    assert decided("multifactor-easy", [mine, theirs], teams=teams) == {"theirs": "start"}
    older = [job("new"), job("old", submitted_s=-HOUR_S)]
    assert decided("multifactor-easy", older) == {"old": "start"}


def test_the_smallest_rest_takes_the_places_of_larger_ones() -> None:
    large, small = job("large", 4.0), job("small", 1.0)
    assert decided("srpt", [small], large) == {"large": "yield", "small": "start"}
    assert decided("srpt", [job("like", 4.0)], large) == {}
    fixed = large._replace(preemptible=False)
    for held in (fixed, large._replace(promoted=True), Running(large, "a", can_yield=False)):
        assert decided("srpt", [small], held) == {}


def test_least_attained_service_knows_two_classes_and_no_prediction() -> None:
    old = job("old", 0.1, attained_h=1.0)
    assert decided("las-2d", [job("new", 99.0)], old) == {"old": "yield", "new": "start"}
    assert decided("las-2d", [job("new", 99.0, submitted_s=9)], job("young", attained_h=0.9)) == {}
    young = POLICIES["las-2d"]().decide(
        state([job("new", submitted_s=9)], job("young", attained_h=0.75))
    )
    assert young.look_again_s == pytest.approx(0.25 * HOUR_S), "then it is old"


def test_starburst_waits_in_proportion_to_the_job_and_leaves() -> None:
    waits = job("waits", 2.0, places=2)
    busy = job("busy", 9.0, places=3)
    at = state([waits, job("small")], busy, places=4, cloud=CLOUD)
    made = POLICIES["starburst"]().decide(at)
    assert [(c.job_id, c.action) for c in made.changes] == [("small", Action.START)]
    assert made.look_again_s == HOUR_S
    late = POLICIES["starburst"]().decide(at._replace(waiting=[waits], now_s=HOUR_S))
    assert [c.action for c in late.changes] == [Action.BURST]
    assert decided("starburst", [waits], busy, places=4, now_s=HOUR_S) == {}, "there is no cloud"


def played(name: str) -> list[Ended]:
    jobs = [true("long", 0, 4), true("short", 1, 1)]
    return play(jobs, site(1, cloud=None, restart_s=360.0), POLICIES[name]())


def test_a_replay_keeps_work_and_takes_the_restart() -> None:
    long, short = played("srpt")
    assert short.wait_h == pytest.approx(0)
    assert long.wait_h == pytest.approx(1.1)
    assert long.preemptions == 1
    assert long.busy == (
        (0.0, HOUR_S),
        (pytest.approx(2.1 * HOUR_S), pytest.approx(5.1 * HOUR_S)),
    )
    long, short = played("easy")
    assert (long.wait_h, short.wait_h) == (0, pytest.approx(3))


def test_the_cloud_takes_its_set_up_and_its_price() -> None:
    jobs = [true("a", 0, 4, places=2), true("b", 0, 1)]
    _, b = play(jobs, site(2), POLICIES["starburst"]())
    assert b.wait_h == pytest.approx(0.25 + 1 / 6)
    assert b.cloud_usd == pytest.approx(3.06 * (1 + 1 / 6))
    assert b.busy == ()
