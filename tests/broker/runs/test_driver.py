"""The state machine on a simulated vendor: failover, faults, crashes between any two steps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.sim_runs import CANDIDATES, MOST, PRICE, RISING, SimRuns
from tests.support.simulator import SimCloud

from mlbroker.broker.ledger import Ledger, State
from mlbroker.broker.runs.failover import MAX_ATTEMPTS
from mlbroker.broker.runs.order import place_of
from mlbroker.broker.runs.reconcile import Did
from mlbroker.broker.runs.summary import live_summary, run_summary, spent_words
from mlbroker.broker.words import exact_usd


@pytest.fixture
def sim(tmp_path: Path) -> SimRuns:
    return SimRuns(tmp_path)


def set_world(sim: SimRuns, **values: Any) -> None:
    with sim.service.world() as world:
        for name, value in values.items():
            setattr(world, name, value)


def test_a_run_goes_through_every_state(sim: SimRuns) -> None:
    run = sim.launch()
    assert run.outcome == "succeeded"
    kinds = [fact.kind for fact in sim.ledger.facts()]
    assert kinds == [
        "reserved", "intended", "armed", "created", "confirmed", "running", "ended", "collected",
        "terminating", "terminated", "disarmed", "settled",
    ]  # fmt: skip
    assert Decimal("0.60") <= run.spent_usd < Decimal(1)
    sim.check()
    with sim.service.world() as world:
        assert world.armed == {}


@pytest.mark.parametrize(
    ("rises_after_s", "tells", "price", "at"),
    [
        (0.0, False, "maximum", MOST),
        (math.inf, False, "maximum", MOST),  # nobody told that it never rose
        (0.0, True, "paid", MOST),
        (math.inf, True, "paid", PRICE),
        (45.0, True, "paid", (PRICE + MOST) / 2),
    ],
)
def test_a_spot_price_that_rises_is_within_the_cap_and_in_the_books(
    sim: SimRuns, rises_after_s: float, tells: bool, price: str, at: Decimal
) -> None:
    sim.candidates = RISING
    set_world(sim, job_s=90.0, rises_after_s=rises_after_s, tells_price=tells)
    run = sim.launch()
    over = next(fact for fact in sim.ledger.facts() if fact.kind == "terminated")
    assert over.body["charged_price"] == price
    assert Decimal(over.body["charged_price_per_hour_usd"]) == at
    stood_s = (run.attempt.ended_at - run.attempt.began_at).total_seconds()  # type: ignore[operator]
    assert run.spent_usd == at * Decimal(stood_s) / 3600  # more than the least of a minute
    assert run.attempt.price_per_hour_usd == PRICE
    sim.check()


def test_a_spot_machine_is_ended_in_time_for_the_price_it_may_rise_to(sim: SimRuns) -> None:
    sim.candidates = RISING
    set_world(sim, job_s=1e6, rises_after_s=0.0)
    run = sim.launch(cap="1")
    assert run.outcome == "capped"
    assert Decimal("0.9") < run.spent_usd <= 1
    sim.check(cap="1")


def test_what_a_spot_machine_has_cost_so_far_is_told_as_it_is_reserved(sim: SimRuns) -> None:
    sim.candidates = RISING
    set_world(sim, job_s=1e6)
    sim.reserve()
    driver = sim.driver(secrets={})
    while (run := driver.advance("r1")).state is not State.RUNNING:
        pass
    sim.service.sleep(600)
    now = sim.service.now()
    row = live_summary(run, sim.opened, sim.home, now)
    stood_s = (now - run.attempt.began_at).total_seconds()
    assert float(row["spent_usd"]) == pytest.approx(float(MOST) * stood_s / 3600, rel=1e-3)


@pytest.mark.parametrize("told", ["0", "-1", "NaN", "Infinity", "45.01", "1e9", None])
def test_a_price_that_cannot_be_is_not_charged(
    sim: SimRuns, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.candidates = RISING
    monkeypatch.setattr(SimCloud, "price_paid", lambda *_: None if told is None else Decimal(told))
    run = sim.launch()
    stood_s = (run.attempt.ended_at - run.attempt.began_at).total_seconds()  # type: ignore[operator]
    assert run.spent_usd == MOST * max(60, Decimal(stood_s)) / 3600
    assert [f.body["charged_price"] for f in sim.ledger.facts() if f.kind == "terminated"] == [
        "maximum"
    ]


def test_the_kill_switch_is_armed_before_the_machine_exists(sim: SimRuns) -> None:
    # The simulator refuses to create without one; a failure to arm must not create.
    set_world(sim, lost_before=_faults(arm_kill=100))
    run = sim.launch()
    assert run.outcome == "not_launched"
    with sim.service.world() as world:
        assert world.machines == []


def test_files_that_cannot_be_removed_do_not_fail_a_settled_run(sim: SimRuns) -> None:
    set_world(sim, lost_before=_faults(discard=100))
    run = sim.launch()
    assert (run.outcome, run.settled) == ("succeeded", True)


def test_spot_that_is_refused_everywhere_leaves_attempts_for_on_demand(sim: SimRuns) -> None:
    zones = [f"z{number}" for number in range(MAX_ATTEMPTS + 3)]
    set_world(sim, no_capacity={f"{zone} spot" for zone in zones})
    spot = replace(CANDIDATES[0], zone="z0")
    on_demand = replace(spot, market="on_demand")
    sim.candidates = (*(replace(spot, zone=zone) for zone in zones), on_demand)
    run = sim.launch()
    assert (run.outcome, run.attempt.market) == ("succeeded", "on_demand")
    assert len(run.attempts) == len(zones) + 1
    sim.check()


def test_no_capacity_and_no_quota_fail_over_to_the_next(sim: SimRuns) -> None:
    set_world(sim, no_capacity={"small"}, no_quota={"medium"})
    run = sim.launch()
    assert run.outcome == "succeeded"
    assert [a.why for a in run.attempts] == ["no_capacity", "no_quota", "finished"]
    assert [a.instance_type for a in run.attempts] == ["small", "medium", "large"]
    sim.check()


def test_a_type_that_is_refused_is_left_and_others_are_tried(sim: SimRuns) -> None:
    set_world(sim, unfit={"small"})
    run = sim.launch()
    assert run.outcome == "succeeded"
    assert [(a.instance_type, a.why) for a in run.attempts] == [
        ("small", "unfit"),
        ("medium", "finished"),
    ]
    sim.check()


def test_with_another_accounts_credentials_nothing_counts_as_gone(sim: SimRuns) -> None:
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.cloud.of_account = "another"
    findings = {finding.what: finding for finding in sim.reconcile()}
    assert "account one, and the credentials are of another" in findings["r1"].detail
    run = sim.ledger.run("r1")
    assert run is not None
    assert (run.state, run.reserved_usd > 0) == (State.RUNNING, True)
    sim.cloud.of_account = "one"
    sim.wind_up()
    sim.check()


def test_a_no_to_another_process_proves_nothing(sim: SimRuns) -> None:
    # Who armed it has asked for the machine, and was killed before it heard an answer.
    set_world(sim, late_creates=1, no_capacity={"small"})
    sim.reserve()
    # Boundaries: four of the facts intended and armed, two of arming, then the create's own.
    assert crash_at(sim, 8)
    run = sim.ledger.run("r1")
    assert run is not None
    assert run.state is State.ARMED
    with sim.service.world() as world:
        assert world.calls["create"] == 1
    run = sim.driver(secrets={}).drive("r1")
    assert [(a.instance_type, a.why) for a in run.attempts] == [("small", "finished")]
    sim.check()


def test_nothing_anywhere_settles_at_zero(sim: SimRuns) -> None:
    set_world(sim, no_capacity={"small", "medium", "large"})
    run = sim.launch()
    assert (run.outcome, run.spent_usd, run.reserved_usd) == ("not_launched", 0, 0)
    sim.check()


def test_preemption_goes_on_elsewhere_within_the_same_cap(sim: SimRuns) -> None:
    set_world(sim, job_s=120.0)
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    assert sim.service.preempt()
    run = driver.drive("r1")
    assert [a.why for a in run.attempts] == ["preempted", "finished"]
    assert run.spent_usd <= Decimal(10)
    sim.check()


def test_a_lost_answer_to_create_is_asked_for_again_not_made_again(sim: SimRuns) -> None:
    set_world(sim, lost_after=_faults(create=3))
    run = sim.launch()
    assert run.outcome == "succeeded"
    with sim.service.world() as world:
        assert len(world.machines) == 1
        assert world.calls["create"] == 4


def test_a_create_that_never_answers_is_found_by_its_tags(sim: SimRuns) -> None:
    set_world(sim, lost_after=_faults(create=50), hidden_s=15.0)
    run = sim.launch()
    assert run.outcome == "succeeded"
    sim.check()


def test_a_machine_that_shows_late_is_not_lost(sim: SimRuns) -> None:
    set_world(sim, hidden_s=18.0)
    assert sim.launch().outcome == "succeeded"
    sim.check()


def test_terminated_means_seen_terminated(sim: SimRuns) -> None:
    set_world(sim, failing_deletes=4)
    run = sim.launch()
    assert run.outcome == "succeeded"
    with sim.service.world() as world:
        assert world.calls["terminate"] >= 5
    sim.check()


@pytest.mark.parametrize("call", ["find", "status", "terminate", "report", "read_log", "fetch"])
def test_a_service_that_does_not_answer_for_a_while(sim: SimRuns, call: str) -> None:
    set_world(sim, lost_before=_faults(**{call: 10}))
    assert sim.launch().outcome == "succeeded"
    sim.check()


def test_the_cap_ends_a_job_that_takes_too_long(sim: SimRuns) -> None:
    set_world(sim, job_s=10_000.0)
    run = sim.launch(cap="3")
    assert run.outcome == "capped"
    assert Decimal("2.8") < run.spent_usd <= Decimal(3)
    sim.check("3")


def test_a_kill_switch_that_fails_is_noticed_and_made_up_for(sim: SimRuns) -> None:
    set_world(sim, job_s=10_000.0, broken_kill=True)
    run = sim.launch(cap="3")
    assert run.attempts[0].why == "capped"
    with sim.service.world() as world:
        assert world.machines[0].ended_at is not None


def test_a_machine_deleted_by_hand_is_accounted(sim: SimRuns) -> None:
    set_world(sim, job_s=600.0)
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    assert sim.service.console_delete()
    driver = sim.driver(secrets=None)
    assert driver.drive("r1").outcome == "lost"
    sim.check()


def test_stop_ends_it_in_order(sim: SimRuns) -> None:
    set_world(sim, job_s=600.0)
    sim.reserve()
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.ledger.append(sim.service.now(), "r1", "stop_requested", {"why": "stopped"})
    assert driver.drive("r1").outcome == "stopped"
    sim.check()


@pytest.mark.parametrize(("faster", "second"), [(True, "large"), (False, None)])
def test_a_move_goes_to_a_faster_machine_or_not_at_all(
    sim: SimRuns, faster: bool, second: str | None
) -> None:
    hours = {"small": 2.0, "medium": 3.0, "large": 1.0 if faster else 4.0}
    sim.candidates = tuple(replace(c, duration_h=hours[c.instance_type]) for c in CANDIDATES)
    set_world(sim, job_s=900.0)
    sim.reserve(cap="12")
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.ledger.append(sim.service.now(), "r1", "stop_requested", {"why": "move"})
    run = driver.drive("r1")
    assert [a.instance_type for a in run.attempts] == ["small", *([second] if second else [])]
    assert run.outcome == ("succeeded" if faster else "stopped")
    sim.check("12")


class Crash(BaseException):
    """Stands for kill -9: nothing catches it."""


class Boundaries:
    """Crashes the client at the n-th boundary: before or after any side effect."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def __call__(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Crash

    @contextmanager
    def around(self) -> Iterator[None]:
        self()
        yield
        self()


class CrashingCloud(SimCloud):
    def __init__(self, inner: SimCloud, boundaries: Boundaries) -> None:
        super().__init__(inner._service, inner.name)
        self._boundaries = boundaries

    @contextmanager
    def _call(self, name: str) -> Iterator[Any]:
        with self._boundaries.around(), super()._call(name) as world:
            yield world


class CrashingLedger(Ledger):
    boundaries: Boundaries

    def append(self, *arguments: Any) -> Any:
        with self.boundaries.around():
            return super().append(*arguments)


def crash_at(sim: SimRuns, at: int) -> bool:
    """Launch, and crash at boundary `at`; False when the run ended before."""
    boundaries = Boundaries(at)
    driver = sim.driver(secrets={})
    ledger = CrashingLedger(sim.ledger._storage)
    ledger.boundaries = boundaries
    driver._ledger = ledger
    # Whoever asks for the cloud on the driver's behalf may crash there too.
    cloud, sim.cloud = sim.cloud, CrashingCloud(sim.cloud, boundaries)
    try:
        driver.drive("r1")
    except Crash:
        return True
    finally:
        sim.cloud = cloud
    return False


@pytest.mark.parametrize("faults", ["none", "hidden", "capacity", "late", "late deletes"])
def test_a_crash_at_every_boundary_leaves_nothing_behind(tmp_path: Path, faults: str) -> None:
    at = 0
    crashed = True
    while crashed:
        at += 1
        sim = SimRuns(tmp_path / str(at))
        set_world(
            sim,
            hidden_s=15.0 if faults == "hidden" else 0.0,
            no_capacity={"small"} if faults in ("capacity", "late") else set(),
            late_creates=1 if faults == "late" else 0,
            failing_deletes=2 if faults == "late deletes" else 0,
            job_s=10.0,
        )
        sim.reserve()
        crashed = crash_at(sim, at)
        sim.wind_up()
        sim.check()
        with sim.service.world() as world:
            assert world.armed == {}, "a kill switch was left armed"
    assert at > 30, "the run has that many boundaries at least"


def adapts(sim: SimRuns, number: int = 0) -> None:
    """A run that works on `small`, and is to go on with another batch, there or elsewhere."""
    set_world(sim, job_s=30.0)
    sim.reserve(cap="12")
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    names = ("cloud", "region", "zone", "instance_type", "market")
    to = dict(zip(names, place_of(sim.candidates[number]), strict=True))
    to |= {"batch_size": 400, "lr_scale": 2.0, "reason": "batch 100 → 400: saves 1 USD"}
    sim.ledger.append(sim.service.now(), "r1", "stop_requested", {"why": "adapt", "to": to})


@pytest.mark.parametrize(("number", "kind"), [(0, "small"), (2, "large")])
def test_a_run_that_adapts_goes_on_there_with_the_new_batch(
    sim: SimRuns, number: int, kind: str
) -> None:
    adapts(sim, number)
    run = sim.driver(secrets={}).drive("r1")
    assert [(a.instance_type, a.batch_size, a.why) for a in run.attempts] == [
        ("small", None, "adapt"),
        (kind, 400, "finished"),
    ]
    assert run.attempts[0].detail == "batch 100 → 400: saves 1 USD"
    assert (run.outcome, run.adapts_to, run.stop_requested) == ("succeeded", None, None)
    sim.check("12")


def test_a_wish_to_adapt_is_no_stop_for_who_cannot_launch(
    sim: SimRuns,
) -> None:
    adapts(sim)
    assert sim.driver(secrets=None).drive("r1").outcome == "succeeded"
    sim.check("12")


@pytest.mark.parametrize("at", range(1, 40, 6))
def test_a_crash_in_the_midst_of_a_change_leaves_nothing_behind(sim: SimRuns, at: int) -> None:
    adapts(sim)
    assert crash_at(sim, at)
    sim.wind_up()
    sim.check("12")
    with sim.service.world() as world:
        assert world.armed == {}, "a kill switch was left armed"


def test_the_cap_holds_with_the_client_dead_and_never_reconciled(sim: SimRuns) -> None:
    set_world(sim, job_s=1e9)
    sim.reserve(cap="3")
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.service.sleep(30 * 86400)
    sim.wind_up()
    sim.check("3")
    run = sim.ledger.run("r1")
    assert run is not None
    assert run.outcome == "capped"


@pytest.mark.parametrize("vanished", [False, True])
def test_an_end_nobody_dates_is_charged_up_to_the_kill_time(sim: SimRuns, vanished: bool) -> None:
    set_world(sim, job_s=1e9, forgetful=True)
    sim.reserve(cap="3")
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    sim.service.sleep(30 * 86400)
    if vanished:
        set_world(sim, hidden_s=1e9)
    sim.wind_up()
    run = sim.ledger.run("r1")
    assert run is not None
    assert Decimal("2.9") < run.spent_usd <= Decimal(3)
    assert run_summary(run)["spent_at_most"]
    assert spent_words(run) == f"at most {exact_usd(run.spent_usd)}"


@pytest.mark.parametrize("forgetful", [False, True])
def test_who_looked_on_knows_when_it_ended(sim: SimRuns, forgetful: bool) -> None:
    set_world(sim, forgetful=forgetful)
    assert not sim.launch().spent_at_most


def test_reconcile_ends_orphans_and_leaves_strangers_alone(sim: SimRuns) -> None:
    from tests.support.simulator import SimMachine

    sim.launch()
    with sim.service.world() as world:
        ours = world.machines[0].token
        for number, tags in enumerate(
            (
                {"mlbroker-run": "r1", "mlbroker-token": ours},
                {"mlbroker-run": "somebody-else", "mlbroker-token": "x"},
                {"Name": "database"},
            )
        ):
            world.machines.append(SimMachine(f"x{number}", f"x{number}", tags, world.now, 1e9, 0))
    found = {finding.what: finding.did for finding in sim.reconcile()}
    assert found == {"x0": Did.ORPHAN_ENDED, "x1": Did.FOREIGN, "x2": Did.FOREIGN}
    with sim.service.world() as world:
        assert [m.ended_at is None for m in world.machines] == [False, False, True, True]
    assert sim.ledger.verify() is None


def test_reconcile_waits_for_no_healthy_run(sim: SimRuns) -> None:
    """However many run unattended, looking after them takes no time but the calls'."""
    set_world(sim, job_s=1e9)
    for run_id in ("r1", "r2", "r3"):
        sim.reserve(run_id)
        while sim.driver(run_id, {}).advance(run_id).state is not State.RUNNING:
            pass
    before = sim.service.now()
    assert [finding.did for finding in sim.reconcile()] == 3 * [Did.STILL_RUNNING]
    assert sim.service.now() == before


def test_an_order_changed_under_a_run_is_refused(sim: SimRuns) -> None:
    sim.reserve()
    path = sim.home / "runs" / "r1" / "order.json"
    path.write_text(path.read_text().replace("36", "1"))
    with pytest.raises(Exception, match="changed after it was reserved"):
        sim.driver(secrets={}).drive("r1")


def test_a_month_of_clock_jump_forward_settles_by_the_kill_time(sim: SimRuns) -> None:
    set_world(sim, job_s=1e9)
    sim.reserve(cap="3")
    driver = sim.driver(secrets={})
    while driver.advance("r1").state is not State.RUNNING:
        pass
    with sim.service.world() as world:
        world.now += timedelta(days=31)
    run = driver.drive("r1")
    assert run.outcome == "capped"
    assert run.spent_usd <= 3


def _faults(**names: int) -> Any:
    from collections import Counter

    return Counter(names)
