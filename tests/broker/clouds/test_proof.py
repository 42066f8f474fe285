"""A cloud is proved by a run of its own: on clouds that keep to their terms, and on others."""

from typing import Any

import pytest
from tests.support.cloud_runs import CloudRuns
from tests.support.vendors import DELETING, Vendor

from mlbroker.broker.clouds import role_of
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.leftovers import Looks
from mlbroker.broker.ledger import State
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.proof import (
    CAME_UP,
    DID_WORK,
    SECRET,
    Proof,
    guest_late_s,
    markdown,
    verdict,
)

SECRETS = {SECRET: "a-secret-of-the-proof"}
# What each vendor tells of who ended a machine.
TOLD = {
    "aws": "EC2 says Client.UserInitiatedShutdown",
    "gcp": "asked for by nobody but Google",
    "azure": "names the identity of the Logic Apps",
}
LEFT = {
    "aws": ["files in the bucket", "disk", "network interface and address", "kill schedule"],
    "gcp": ["files in the bucket", "seat", "disk", "secrets"],
    "azure": [
        "files in the bucket",
        "seat",
        "resource group with disk, interface, address and rights",
        "Logic App of the kill",
        "secrets",
    ],
}


def proof_of(
    runs: CloudRuns, run_id: str, cap: str, before: Any = None, late_s: int | None = None
) -> Proof:
    """A run that was reserved as `doctor --prove` does; `before` happens when it is over.

    `late_s` is how much later than the kill time its machine's own keepers strike.
    """
    runs.world.guest.job_s = None
    runs.world.guest.log = f"{CAME_UP}\n{DID_WORK}\n".encode()
    late_s = guest_late_s(runs.cloud.traits) if late_s is None else late_s
    runs.reserve(run_id, cap, runs.candidates[-1:], guest_late_s=late_s)

    def remains(*attempt: Any) -> Looks:
        if before is not None:
            before(*attempt)
        looks: Looks = role.remains(*attempt)
        return looks

    role = role_of(runs.candidates[0].cloud, "proof")
    folder, driver = RunFolder.of(runs.home, run_id), runs.driver(run_id, SECRETS)
    return Proof(
        runs.ledger, folder, driver, runs.clock, runs.opened, remains, role.ended_by  # type: ignore[arg-type]
    )  # fmt: skip


def wrong(report: dict[str, Any]) -> list[str]:
    return [one["claim"] for one in report["findings"] if one["ok"] is not True]


@pytest.fixture
def cap(vendor: Vendor) -> str:
    """For some minutes of life, and the machine's keepers that come late."""
    return {"azure": "1.7"}.get(vendor.name, "0.85")


def test_a_cloud_that_keeps_to_its_terms_is_proved(
    runs: CloudRuns, run_id: str, cap: str, vendor: Vendor
) -> None:
    report = proof_of(runs, run_id, cap).carry(run_id)
    said = markdown(report)
    # A loopback machine's set-up takes no time to speak of.
    assert wrong(report) == [], said
    assert TOLD[vendor.name] in said, "who ended it is known, not inferred"
    assert verdict(report)
    account = runs.cloud.account()
    assert account not in said
    assert account not in str(report)
    assert SECRETS[SECRET] not in said
    runs.check(run_id, cap=cap)


@pytest.mark.parametrize("late", ["never", "late"])
def test_a_kill_that_does_not_come_in_time_is_not_ok_and_the_cap_holds_all_the_same(
    runs: CloudRuns, run_id: str, cap: str, vendor: Vendor, late: str
) -> None:
    if late == "never":
        runs.world.faults.kill_works = False
    else:
        runs.world.faults.kill_late_s = runs.cloud.traits.kill_slack_s + 60
    report = proof_of(runs, run_id, cap).carry(run_id)
    assert wrong(report) == [
        "the kill switch outside ends the machine",
        "it ends it within kill_slack_s",
    ]
    assert not verdict(report)
    runs.check(run_id, cap=cap)


def test_whatever_is_left_is_found(runs: CloudRuns, run_id: str, cap: str, vendor: Vendor) -> None:
    faults, cloud = runs.world.faults, runs.cloud

    def leak(intent: Intent, machine_id: str, secrets_at: str | None) -> None:
        (vm,) = runs.vms(run_id)
        # Nothing takes away what is left.
        faults.kill_works = False
        faults.disks_stay = faults.interfaces_stay = True
        runs.world.put_object(vm, f"0/{vm.token}/{vm.id}", b"left")
        cloud.arm_kill(intent)
        if vendor.name in DELETING:
            runs.world.vault.keep(secrets_at)
            cloud.take_seat(intent)

    report = proof_of(runs, run_id, cap, leak).carry(run_id)
    assert wrong(report) == [f"nothing is left: {what}" for what in LEFT[vendor.name]]
    assert not verdict(report)


def test_a_machine_that_ended_itself_in_time_is_not_taken_for_a_kill_from_outside(
    runs: CloudRuns, run_id: str, cap: str, vendor: Vendor
) -> None:
    runs.world.faults.kill_works = False
    report = proof_of(runs, run_id, cap, late_s=0).carry(run_id)
    claim = "the kill switch outside ends the machine"
    assert wrong(report) == [claim]
    # Azure's activity log may name an identity in other words than its directory does.
    (found,) = (one for one in report["findings"] if one["claim"] == claim)
    assert found["ok"] is (None if vendor.name == "azure" else False), found


@pytest.mark.parametrize("vendor", ["azure"], indirect=True)
def test_where_the_vendor_stays_silent_it_is_said_to_be_inferred(
    runs: CloudRuns, run_id: str, cap: str
) -> None:
    runs.world.faults.log_works = False
    report = proof_of(runs, run_id, cap).carry(run_id)
    assert "| ok | inferred: nothing else would have by then |" in markdown(report)


@pytest.mark.parametrize("vendor", ["azure"], indirect=True)
def test_a_launch_that_is_refused_is_a_finding(
    runs: CloudRuns, run_id: str, cap: str, vendor: Vendor
) -> None:
    runs.world.sell_out(runs.candidates[-1].instance_type)
    report = proof_of(runs, run_id, cap).carry(run_id)
    assert wrong(report) == ["a machine is launched"]
    runs.check(run_id, cap=cap)


@pytest.mark.parametrize("vendor", ["gcp"], indirect=True)
def test_a_later_process_goes_on_where_the_first_one_died(
    runs: CloudRuns, run_id: str, cap: str
) -> None:
    first = proof_of(runs, run_id, cap)
    while first.driver.advance(run_id).state is not State.RUNNING:
        pass
    later = Proof(
        runs.ledger,
        first.folder,
        runs.driver(run_id),
        first.clock,
        runs.opened,
        first.remains,  # type: ignore[arg-type]
        first.ended_by,
    )
    report = later.carry(run_id)
    assert wrong(report) == ["a new machine is listed within visible_after_s"]
    assert verdict(report), "nobody knows, which is no failure"
