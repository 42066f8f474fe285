"""A cloud is proved by a run of its own: on clouds that keep to their terms, and on others."""

from typing import Any

import pytest
from tests.support.cloud_runs import CloudRuns
from tests.support.vendors import Vendor

from mlbroker.broker.clouds import role_of
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


def proof_of(runs: CloudRuns, run_id: str, cap: str, before: Any = None) -> Proof:
    """A run that was reserved as `doctor --prove` does; `before` happens when it is over."""
    runs.world.guest.job_s = None
    runs.world.guest.log = f"{CAME_UP}\n{DID_WORK}\n".encode()
    late_s = guest_late_s(runs.cloud.traits)
    runs.reserve(run_id, cap, runs.candidates[-1:], guest_late_s=late_s)

    def remains(*attempt: Any) -> Looks:
        if before is not None:
            before()
        cloud = runs.candidates[0].cloud
        looks: Looks = role_of(cloud, "proof").remains(*attempt)
        return looks

    folder, driver = RunFolder.of(runs.home, run_id), runs.driver(run_id, SECRETS)
    return Proof(runs.ledger, folder, driver, runs.clock, runs.opened, remains)  # type: ignore[arg-type]


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
    assert verdict(report)
    account = runs.cloud.account()
    assert account not in said
    assert account not in str(report)
    assert SECRETS[SECRET] not in said
    runs.check(run_id, cap=cap)


def test_a_kill_that_does_not_come_and_what_stays_are_not_ok_and_the_cap_holds_all_the_same(
    runs: CloudRuns, run_id: str, cap: str, vendor: Vendor
) -> None:
    def leak() -> None:
        (vm,) = runs.vms(run_id)
        runs.world.put_object(vm, f"0/{vm.token}/{vm.id}", b"left")

    runs.world.faults.kill_works = False
    runs.world.faults.disks_stay = True
    report = proof_of(runs, run_id, cap, leak).carry(run_id)
    # On Azure the disk is in the run's group, which is asked for as a whole.
    disks = [] if vendor.name == "azure" else ["nothing is left: disk"]
    assert wrong(report) == [
        "the kill switch outside ends the machine",
        "it ends it within kill_slack_s",
        "nothing is left: files in the bucket",
        *disks,
    ]
    assert not verdict(report)
    runs.check(run_id, cap=cap)


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
    )
    report = later.carry(run_id)
    assert wrong(report) == ["a new machine is listed within visible_after_s"]
    assert verdict(report), "nobody knows, which is no failure"
