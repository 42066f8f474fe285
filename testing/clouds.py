"""What every cloud promises (mlbroker.broker.clouds.interface), for any that has a harness.

A package of its own subclasses `CloudSuite` with a fixture `harness`, and runs it with pytest.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from mlbroker.broker.clouds.guest_report import Report
from mlbroker.broker.clouds.interface import (
    Cloud,
    Intent,
    Machine,
    MachineState,
    NoCapacity,
    NoQuota,
    Payload,
    Unclear,
)

GONE = MachineState.TERMINATED
# Processes are found by their token: two test workers on one machine must not share one.
WORKER = secrets.token_hex(4)[1:]


class Harness(Protocol):
    """A cloud with nothing on it, and what makes its vendor misbehave.

    `name` is the cloud's, `region` one that it is set up in. A fault that cannot happen to it is
    named in `spared`, with the reason: `lost`, `hidden`, `late deletes`, `capacity`, `quota`.
    """

    name: str
    region: str
    cloud: Cloud
    spared: dict[str, str]

    def now(self) -> datetime:
        """The time at the vendor's."""

    def wait(self, seconds: float) -> None:
        """Let time pass at the vendor's: for real, or on its clock."""

    def reopened(self) -> Cloud:
        """The cloud as a later process opens it."""

    def type_name(self) -> str:
        """A machine type that can be had."""

    def payload(self, seconds: float, code: int = 0) -> Payload:
        """A job that takes so long and ends with this code."""

    def stranger(self) -> str:
        """A machine of somebody else's in the same place: its id."""

    def stranger_lives(self, machine_id: str) -> bool:
        """Whether that machine is still there."""

    def lose_answers(self, call: str, times: int) -> None:
        """The next calls, always `create`, take effect without an answer."""

    def lose_requests(self, call: str, times: int) -> None:
        """The next calls never arrive."""

    def hide_new_machines(self, seconds: float) -> None:
        """So long new machines are in no listing."""

    def fail_deletes(self, times: int) -> None:
        """The next deletions are accepted, and come to nothing."""

    def run_out_of(self, what: str) -> None:
        """`capacity` or `quota` of the type."""


def make_intent(harness: Harness, number: int = 1, lifetime_s: float = 60) -> Intent:
    """An attempt on the harness's cloud, to be killed after `lifetime_s`."""
    now = harness.now()
    return Intent(
        token=f"mlb-20261124-120000-{WORKER}{number}-1",
        run_id=f"20261124-120000-{WORKER}{number}",
        attempt=1,
        job="job",
        cloud=harness.name,
        region=harness.region,
        zone=None,
        instance_type=harness.type_name(),
        market="on_demand",
        nodes=1,
        price_per_hour_usd=Decimal(1),
        intended_at=now,
        kill_at=now + timedelta(seconds=lifetime_s),
    )


class RealTime:
    """For harnesses whose vendor lives in real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


class CloudSuite:
    """The tests; a subclass has a fixture `harness`, which yields a cloud with nothing on it."""

    def test_a_created_machine_is_found_and_seen_by_a_later_process(self, harness: Harness) -> None:
        intent = make_intent(harness, lifetime_s=900)
        machine = launch(harness, harness.payload(600))
        later = harness.reopened()
        until(harness, lambda: bool(later.find(intent.tags)))
        (found,) = later.find(intent.tags)
        assert found.tags["mlbroker-token"] == intent.token
        status = later.status(machine.id)
        assert status is not None
        assert status.state in (MachineState.PENDING, MachineState.RUNNING)
        assert later.find({**intent.tags, "mlbroker-run": "another"}) == []
        assert later.account() == harness.cloud.account(), "else it counts as out of sight"
        later.terminate(machine.id)

    def test_the_same_token_makes_one_machine(self, harness: Harness) -> None:
        payload = harness.payload(600)
        intent = make_intent(harness, lifetime_s=900)
        harness.cloud.arm_kill(intent)
        first = harness.cloud.create(intent, payload)
        again = harness.reopened().create(intent, payload)
        assert again.id == first.id
        until(harness, lambda: len(harness.cloud.find(intent.tags)) == 1)
        harness.cloud.terminate(first.id)
        until(harness, lambda: is_gone(harness, first))
        # Not even after its end is a token used a second time.
        try:
            third: Machine | None = harness.cloud.create(intent, payload)
        except Exception:
            third = None
        assert third is None or third.id == first.id
        assert is_gone(harness, first)

    def test_a_lost_answer_is_asked_for_again(self, harness: Harness) -> None:
        unless_spared(harness, "lost")
        payload = harness.payload(600)
        intent = make_intent(harness, lifetime_s=900)
        harness.cloud.arm_kill(intent)
        harness.lose_answers("create", 1)
        with pytest.raises(Unclear) as lost:
            harness.cloud.create(intent, payload)
        assert not lost.value.made_nothing
        machine = harness.cloud.create(intent, payload)
        until(harness, lambda: len(harness.cloud.find(intent.tags)) == 1)
        harness.cloud.terminate(machine.id)

    def test_a_lost_request_made_nothing(self, harness: Harness) -> None:
        unless_spared(harness, "lost")
        payload = harness.payload(600)
        intent = make_intent(harness, lifetime_s=900)
        harness.cloud.arm_kill(intent)
        harness.lose_requests("create", 1)
        with pytest.raises(Unclear):
            harness.cloud.create(intent, payload)
        harness.cloud.cancel(intent)
        harness.wait(harness.cloud.traits.visible_after_s)
        assert harness.cloud.find(intent.tags) == []

    def test_a_machine_may_show_late_but_within_what_is_promised(self, harness: Harness) -> None:
        unless_spared(harness, "hidden")
        harness.hide_new_machines(harness.cloud.traits.visible_after_s * 0.9)
        machine = launch(harness, harness.payload(600))
        harness.wait(harness.cloud.traits.visible_after_s)
        assert seen(harness, machine) is not None
        harness.cloud.terminate(machine.id)

    def test_terminate_may_be_repeated_and_the_end_is_seen(self, harness: Harness) -> None:
        machine = launch(harness, harness.payload(600))
        for _ in range(3):
            harness.cloud.terminate(machine.id)
        until(harness, lambda: is_gone(harness, machine))
        harness.cloud.terminate(machine.id)
        assert is_gone(harness, machine)

    def test_a_delete_that_fails_late_shows_and_can_be_repeated(self, harness: Harness) -> None:
        unless_spared(harness, "late deletes")
        harness.fail_deletes(1)
        machine = launch(harness, harness.payload(600))
        harness.cloud.terminate(machine.id)
        harness.wait(harness.cloud.traits.poll_s * 2)
        assert not is_gone(harness, machine), "accepted is not ended"
        harness.cloud.terminate(machine.id)
        until(harness, lambda: is_gone(harness, machine))

    def test_capacity_and_quota_are_told_apart(self, harness: Harness) -> None:
        for what, error in (("capacity", NoCapacity), ("quota", NoQuota)):
            if what in harness.spared:
                continue
            harness.run_out_of(what)
            with pytest.raises(error) as refused:
                launch(harness, harness.payload(1))
            # Where absence takes time to prove, a plain no must save that time.
            assert refused.value.made_nothing or harness.cloud.traits.visible_after_s == 0
            assert harness.cloud.find(make_intent(harness).tags) == []
        if {"capacity", "quota"} <= set(harness.spared):
            pytest.skip(harness.spared["quota"])

    def test_strangers_are_left_alone(self, harness: Harness) -> None:
        stranger = harness.stranger()
        machine = launch(harness, harness.payload(600))
        ours = make_intent(harness).tags
        until(harness, lambda: bool(harness.cloud.find(ours)))
        assert stranger not in {m.id for m in harness.cloud.find(ours)}
        harness.cloud.terminate(machine.id)
        until(harness, lambda: is_gone(harness, machine))
        assert harness.stranger_lives(stranger)

    def test_the_kill_switch_needs_no_client(self, harness: Harness) -> None:
        in_real_time = isinstance(harness, RealTime)
        lifetime = 3.0 if in_real_time else 300.0
        machine = launch(harness, harness.payload(3600), lifetime)
        # In real time it may be over by now, on a busy machine.
        assert in_real_time or not is_gone(harness, machine)
        # Nobody calls anything meanwhile.
        harness.wait(lifetime + harness.cloud.traits.kill_slack_s)
        until(harness, lambda: is_gone(harness, machine))
        ended = seen(harness, machine)
        if ended is not None and ended.ended_at is not None and ended.started_at is not None:
            lived = (ended.ended_at - ended.started_at).total_seconds()
            assert lived <= lifetime + harness.cloud.traits.kill_slack_s
        if in_real_time:
            end = harness.cloud.report(make_intent(harness)).end
            assert end is not None
            assert end.why == "capped"

    @pytest.mark.parametrize(("code", "why"), [(0, "finished"), (3, "failed")])
    def test_the_guest_reports_how_the_job_ended(
        self, harness: Harness, code: int, why: str
    ) -> None:
        launch(harness, harness.payload(0.2, code))
        intent = make_intent(harness, lifetime_s=900)
        reports: list[Report] = []

        def ended() -> bool:
            reports.append(harness.cloud.report(intent))
            return reports[-1].end is not None

        until(harness, ended)
        end = reports[-1].end
        assert end is not None
        assert (end.why, end.exit_code) == (why, code)

    def test_a_job_ends_when_it_is_asked_to(self, harness: Harness) -> None:
        launch(harness, harness.payload(600))
        intent = make_intent(harness, lifetime_s=900)
        harness.cloud.stop_job(intent, "stopped")
        until(harness, lambda: harness.cloud.report(intent).end is not None)
        end = harness.cloud.report(intent).end
        assert end is not None
        assert end.why == "stopped"

    def test_nothing_is_known_of_a_token_never_used(self, harness: Harness) -> None:
        intent = make_intent(harness, 7)
        assert harness.cloud.find(intent.tags) == []
        assert harness.cloud.report(intent).end is None
        harness.cloud.disarm_kill(intent)
        harness.cloud.discard(intent)


def unless_spared(harness: Harness, fault: str) -> None:
    if fault in harness.spared:
        pytest.skip(f"cannot happen here: {harness.spared[fault]}")


def until(harness: Harness, what: Callable[[], bool], tries: int = 3000) -> None:
    """Let time pass until it is so."""
    for _ in range(tries):
        if what():
            return
        harness.wait(max(0.1, harness.cloud.traits.poll_s / 2))
    raise AssertionError("it never came")


def seen(harness: Harness, machine: Machine) -> Machine | None:
    try:
        return harness.cloud.status(machine.id)
    except Unclear:
        return machine


def is_gone(harness: Harness, machine: Machine) -> bool:
    now = seen(harness, machine)
    return now is None or now.state is GONE


def launch(harness: Harness, payload: Payload, lifetime_s: float = 900) -> Machine:
    intent = make_intent(harness, lifetime_s=lifetime_s)
    harness.cloud.arm_kill(intent)
    return harness.cloud.create(intent, payload)
