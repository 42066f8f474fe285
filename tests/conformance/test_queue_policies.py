"""Every queue policy of the registry is held to what all promise."""

import pytest
from tests.support.queues import CLOUD, site, state, trace, true
from tests.support.queues import job as a_job

from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.interface import Action, Decisions, State
from mlbroker.policies.queue.replay import Ended, play

A_HAIR = 1e-6


@pytest.fixture(params=POLICIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def heard(name: str, seed: int) -> tuple[list[tuple[State, Decisions]], list[Ended]]:
    looks: list[tuple[State, Decisions]] = []
    ended = play(
        trace(seed), site(), POLICIES[name](), lambda state, said: looks.append((state, said))
    )
    return looks, ended


@pytest.mark.parametrize("seed", [1, 2])
def test_no_place_is_given_twice_and_gangs_get_all_or_nothing(name: str, seed: int) -> None:
    looks, ended = heard(name, seed)
    for before, decided in looks:
        busy = {each.job.id: each for each in before.running}
        waits = {job.id: job for job in before.waiting}
        used = sum(each.job.places for each in before.running)
        for change in decided.changes:
            if change.action is Action.YIELD:
                gone = busy.pop(change.job_id)
                assert not gone.is_fixed
                used -= gone.job.places
            elif change.action is Action.START:
                used += waits.pop(change.job_id).places
            elif change.action is Action.BURST:
                assert before.cloud is not None
                del waits[change.job_id]
            else:
                assert change.action is Action.KEEP
                assert change.promoted
            assert change.reason
        assert used <= 16
        assert sorted(decided.order) == sorted(waits), "who is left waits in some order"
    for each in ended:
        assert each.finish_s is not None
        worked_s = sum(end - begin for begin, end in each.busy)
        if not each.cloud_usd:
            assert worked_s == pytest.approx(each.job.duration_s)
        if not each.job.preemptible:
            assert each.preemptions == 0


@pytest.mark.parametrize("conserving", ["auto", "las-2d", "srpt", "starburst"])
def test_those_without_reservations_leave_no_place_free_that_somebody_fits(conserving: str) -> None:
    for before, decided in heard(conserving, 1)[0]:
        busy = {each.job.id: each.job for each in before.running}
        waits = {job.id: job for job in before.waiting}
        for change in decided.changes:
            if change.action is Action.YIELD:
                waits[change.job_id] = busy.pop(change.job_id)
            elif change.action is Action.START:
                busy[change.job_id] = waits[change.job_id]
        free = 16 - sum(job.places for job in busy.values())
        assert all(waits[name].places > free for name in decided.order)


@pytest.mark.parametrize("seed", [1, 2])
def test_promoted_jobs_run_to_their_end(name: str, seed: int) -> None:
    looks, _ = heard(name, seed)
    promoted: set[str] = set()
    for _, decided in looks:
        for change in decided.changes:
            assert not (change.action is Action.YIELD and change.job_id in promoted)
            if change.promoted:
                promoted.add(change.job_id)
    if name == "auto":
        assert promoted


def test_the_same_jobs_are_decided_the_same(name: str) -> None:
    first, second = heard(name, 3)[0], heard(name, 3)[0]
    assert [decided for _, decided in first] == [decided for _, decided in second]


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_it_sees_predictions_and_never_durations(name: str, share: float) -> None:
    """Jobs that have not ended at some moment may take any time: until then nothing changes."""
    jobs = trace(4)
    looks, ended = heard(name, 4)
    at_s = looks[int(share * len(looks))][0].now_s
    shorter = sorted(each.duration_s for each in jobs)
    other = [
        job._replace(duration_s=job.duration_s + shorter[number % len(shorter)])
        if end.finish_s is None or end.finish_s > at_s
        else job
        for number, (job, end) in enumerate(zip(jobs, ended, strict=True))
    ]
    again: list[tuple[State, Decisions]] = []
    play(other, site(), POLICIES[name](), lambda state, said: again.append((state, said)))
    before = [look for look in looks if look[0].now_s < at_s]
    assert len(before) > 20
    assert again[: len(before)] == before


def test_what_fits_on_an_empty_site_starts_at_once(name: str) -> None:
    jobs = [a_job("a", 2.0), a_job("b", 1.0, places=2)]
    decided = POLICIES[name]().decide(state(jobs, places=3, cloud=CLOUD))
    assert {(c.job_id, c.action, c.pool) for c in decided.changes} == {
        ("a", Action.START, "a"),
        ("b", Action.START, "a"),
    }
    assert decided.order == ()


def test_a_gang_larger_than_the_site_holds_up_nobody(name: str) -> None:
    jobs = [true("wide", 0, 1, places=32), true("small", 0.5, 1)]
    without = play(jobs, site(16, cloud=None), POLICIES[name]())
    assert [each.finish_s is None for each in without] == [True, False]
    assert without[1].wait_h == pytest.approx(0)
    if name in ("auto", "starburst"):
        rented = play(jobs, site(16), POLICIES[name]())[0]
        assert rented.cloud_usd == pytest.approx(32 * 3.06 * (1 + 1 / 6))


def test_a_gang_stays_in_one_pool_and_in_those_it_may_use(name: str) -> None:
    waits = [
        a_job("pair", places=2),
        a_job("here", pools=frozenset({"b"})),
        a_job("nowhere", pools=frozenset({"c"})),
    ]
    at = state(waits, pools={"a": 1, "b": 3})
    decided = POLICIES[name]().decide(at)
    assert {c.job_id: c.pool for c in decided.changes} == {"pair": "b", "here": "b"}
    assert decided.order == ("nowhere",)


def test_ten_thousand_jobs_wait(name: str) -> None:
    waits = [a_job(f"j{n}", 1 + n % 17, places=1 + n % 4) for n in range(10_000)]
    busy = [a_job(f"r{n}", 1 + n % 5) for n in range(64)]
    decided = POLICIES[name]().decide(state(waits, *busy, places=64))
    started = {change.job_id for change in decided.changes if change.action is Action.START}
    assert len(decided.order) + len(started) == 10_000
    assert not started & set(decided.order)
