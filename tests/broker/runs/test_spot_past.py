"""What a ledger says of spot machines and of outages."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.sim_runs import SimRuns
from tests.support.spot_ledgers import START, Try, write

from mlbroker.broker.ledger import State, open_ledger
from mlbroker.broker.runs.spot_past import observations
from mlbroker.policies.spot.beliefs import Observation, Place, What
from mlbroker.policies.spot.hazards import UNKNOWN_AGE_H

HERE = Place("aws", "us-east-1", "us-east-1a", "g5.xlarge")


def seen(home: Path, *tries: Try, now_h: float | None = None) -> list[Observation]:
    write(home, *tries)
    now = None if now_h is None else START + timedelta(hours=now_h)
    return list(observations(open_ledger(home), now))


def outages(home: Path, *tries: Try) -> list[tuple[float, float, bool]]:
    found = [each for each in seen(home, *tries) if each.what is What.OUTAGE]
    return [(each.from_h, pytest.approx(each.until_h), each.ended) for each in found]


def test_without_a_ledger_nothing_was_seen(tmp_path: Path) -> None:
    assert observations(open_ledger(tmp_path)) == ()


def test_machines_lived_until_they_were_taken_or_ended(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        Try(0, "preempted", 2),
        Try(10, "finished", 20, zone=None, nodes=3),
        Try(20, "lost", 1),
        Try(30, "machine_failed", 4),
        Try(40, "finished", 5, market="on_demand"),
        Try(50, "lost", 6, at_most=True),
        Try(60, "", None),
    )
    assert [(each.until_h, each.ended, each.machines) for each in found] == [
        (2, True, 1), (20, False, 3), (1, True, 1), (4, False, 1),
    ]  # fmt: skip
    assert [each.place for each in found[:2]] == [HERE, HERE._replace(zone=None)]
    assert {(each.what, each.from_h) for each in found} == {(What.MACHINE, 0)}
    assert found[0].at == START + timedelta(hours=2)


def test_a_machine_that_is_up_counts_until_now(tmp_path: Path) -> None:
    (found,) = seen(tmp_path, Try(1, "", None), now_h=4.5)
    assert (found.until_h, found.ended) == (3.5, False)


def test_an_outage_lasts_from_the_first_no_to_the_middle_before_the_first_yes(
    tmp_path: Path,
) -> None:
    found = outages(
        tmp_path,
        Try(0, "no_capacity"),
        Try(0.5, "no_capacity"),
        Try(1.0, "no_capacity"),
        Try(1.5, "finished", 1),
    )
    assert found == [(UNKNOWN_AGE_H, UNKNOWN_AGE_H + 1.25, True)]


def test_after_a_machine_was_taken_an_outage_is_as_old_as_that(tmp_path: Path) -> None:
    found = outages(
        tmp_path, Try(0, "preempted", 2), Try(2.25, "no_capacity"), Try(2.75, "no_capacity")
    )
    assert found == [(0.25, 0.75, False)]


def test_between_two_looks_far_apart_nobody_knows(tmp_path: Path) -> None:
    """Neither that it lasted, nor that it ended, nor when."""
    found = outages(
        tmp_path,
        Try(0, "preempted", 2),
        Try(9, "no_capacity"),
        Try(12, "no_capacity"),
        Try(12.5, "no_capacity"),
        Try(20, "finished", 1),
    )
    age = UNKNOWN_AGE_H
    assert found == [(age, age, False), (age, age + 0.5, False)]


def test_each_place_has_its_own_outages_and_on_demand_is_another_market(tmp_path: Path) -> None:
    found = outages(
        tmp_path,
        Try(0, "no_capacity"),
        Try(0.2, "finished", 1, zone="us-east-1b"),
        Try(0.3, "finished", 1, market="on_demand"),
        Try(0.4, "no_capacity", market="on_demand"),
        Try(0.5, "finished", 1, instance_type="g5.2xlarge"),
    )
    assert found == [(UNKNOWN_AGE_H, UNKNOWN_AGE_H, False)]


def test_an_outage_is_known_by_when_it_was_met_last(tmp_path: Path) -> None:
    *_, outage = seen(tmp_path, Try(0, "no_capacity"), Try(0.5, "no_capacity"))
    assert outage.at == START + timedelta(hours=0.5)


def test_runs_leave_what_they_saw(tmp_path: Path) -> None:
    """Small machines are short for one run, and then had; a medium one is taken in the middle."""
    sim = SimRuns(tmp_path)
    with sim.service.world() as world:
        world.no_capacity, world.job_s = {"small"}, 120.0
    sim.reserve("r1")
    driver = sim.driver("r1", secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    assert sim.service.preempt()
    driver.drive("r1")
    with sim.service.world() as world:
        world.no_capacity = set()
    sim.launch("r2")

    found = {(each.place.instance_type, each.what): each for each in observations(sim.ledger)}
    assert {key: each.ended for key, each in found.items()} == {
        ("small", What.OUTAGE): True,
        ("medium", What.MACHINE): True,
        ("large", What.MACHINE): False,
        ("small", What.MACHINE): False,
    }
    assert all(0 <= each.until_h - each.from_h < 0.5 for each in found.values())
