"""Machines whose user-data really runs, as an unprivileged user, and what is AWS's own of it."""

import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.aws.account import ACCOUNT
from tests.support.aws.machines import OWN, RECLAIMED
from tests.support.aws.runs import intent
from tests.support.aws.server import StrictAws
from tests.support.aws.vendor import VENDOR
from tests.support.loopback_guests import Sandboxes, processes_of
from tests.support.mlbroker import wait_for
from tests.support.strict import StrictCloud

from mlbroker.broker.clouds.aws.calls import Calls
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.guest_report import Report
from mlbroker.broker.clouds.interface import Intent, MachineState, Payload

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    folder = tmp_path_factory.mktemp("aws")
    with VENDOR.standing(folder, execute=True, as_nobody=True) as world:
        world.ec2.machines.boot_s = 0.05
        world.ec2.machines.shutdown_s = 0.05
        yield world


@pytest.fixture(scope="module")
def cloud(live: StrictAws) -> AwsCloud:
    return AwsCloud(Calls())


def ended(cloud: AwsCloud, wanted: Intent) -> Callable[[], Report | None]:
    def look() -> Report | None:
        report = cloud.report(wanted)
        return report if report.end is not None else None

    return look


def whole_log(cloud: AwsCloud, wanted: Intent, size: int) -> str:
    data = b""
    while len(data) < size:
        data += cloud.read_log(wanted, len(data))
    return data.decode()


def gone(live: StrictAws, wanted: Intent) -> bool:
    return all(vm.ends_at and not processes_of(vm.id) for vm in live.vms(wanted.token))


def bundle(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_a_job_runs_unprivileged_and_leaves_everything_in_the_bucket(
    live: StrictAws, cloud: AwsCloud, run_id: str, tmp_path: Path
) -> None:
    train = "\n".join(
        [
            "import os, pathlib",
            "print('uid', os.getuid(), 'key', os.environ['API_KEY'], os.environ['EPOCHS'])",
            "print('own python', '/box/env/' in os.environ.get('PATH', ''))",
            "print('prepared', pathlib.Path('ready').exists())",
            "print('::mlbroker step=5/10')",
            "pathlib.Path(os.environ['MLBROKER_OUTPUT_DIR'], 'model').write_text('weights')",
        ]
    )
    assert isinstance(live.guest, Sandboxes)
    live.guest.bare = True
    wanted = intent(live, run_id)
    payload = Payload(
        {"setup": "touch ready", "command": "python3 train.py", "envs": {"EPOCHS": "3"}},
        bundle=bundle(tmp_path / "b", {"train.py": train}),
        secrets={"API_KEY": "geheim-4711"},
    )
    cloud.create(wanted, payload)
    report = wait_for(ended(cloud, wanted))
    live.guest.bare = False
    assert (report.end.why, report.end.exit_code) == ("finished", 0)
    assert (report.end.step, report.end.steps) == (5, 10)
    log = whole_log(cloud, wanted, report.log_bytes)
    uid = 65534 if os.getuid() == 0 else os.getuid()
    assert f"uid {uid} key *** 3" in log
    assert "own python True" in log
    assert "prepared True" in log
    assert cloud.fetch(wanted, "outputs.tar", tmp_path / "outputs.tar")
    with tarfile.open(tmp_path / "outputs.tar") as archive:
        model = archive.extractfile("model")
        assert model is not None
        assert model.read() == b"weights"
    wait_for(lambda: gone(live, wanted))
    (vm,) = live.vms(wanted.token)
    assert vm.why == OWN, "it ended itself"
    assert "geheim" not in vm.user_data
    told = [r.path for r in live.requests if b"geheim" in r.body]
    assert told == [f"/mlbroker-{ACCOUNT}-us-east-1/{live.folder(vm)}/secrets.json"]
    assert live.secrets() == [], "it removed them"


def test_a_machine_taken_without_a_word_is_seen_as_reclaimed(
    live: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(live, run_id, market="spot")
    machine = cloud.create(wanted, Payload({"command": "sleep 600"}))
    wait_for(lambda: cloud.report(wanted).status)
    live.ec2.end(live.vms(wanted.token)[0], RECLAIMED)

    def seen() -> bool:
        found = cloud.status(machine.id)
        return found is not None and found.state is MachineState.TERMINATED and found.preempted

    wait_for(seen)
    assert gone(live, wanted)
    assert cloud.report(wanted).end is None


def test_at_the_kill_time_the_job_is_saved_and_the_machine_goes(
    live: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    # How long a machine takes to come up now says how short a life may be.
    began = time.monotonic()
    first = intent(live, f"{run_id}a")
    cloud.create(first, Payload({"command": "true"}))
    wait_for(ended(cloud, first))
    life_s = 5 + 4 * (time.monotonic() - began)
    now = live.clock.now()
    wanted = intent(live, run_id, intended_at=now, kill_at=now + timedelta(seconds=life_s))
    cloud.create(wanted, Payload({"command": "trap '' TERM; while :; do sleep 0.1; done"}))
    report = wait_for(ended(cloud, wanted))
    assert report.end.why == "capped"
    wait_for(lambda: gone(live, wanted))
    (vm,) = live.vms(wanted.token)
    assert vm.ends_at is not None
    assert vm.ends_at <= wanted.kill_at + timedelta(seconds=life_s)


def test_the_timer_ends_a_machine_whose_guest_was_killed(
    live: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    now = live.clock.now()
    wanted = intent(live, run_id, intended_at=now, kill_at=now + timedelta(seconds=3))
    # The bucket refuses the machine: it never gets to know what to do, and must not stay idle.
    live.faults.errors["GetObject"] = ("AccessDenied", "no")
    try:
        cloud.create(wanted, Payload({"command": "sleep 600"}))
        wait_for(lambda: gone(live, wanted))
    finally:
        live.faults.errors.clear()
    (vm,) = live.vms(wanted.token)
    assert vm.why == OWN


def test_a_stop_is_obeyed(live: StrictAws, cloud: AwsCloud, run_id: str) -> None:
    wanted = intent(live, run_id)
    cloud.create(wanted, Payload({"command": "echo on; sleep 600"}))
    wait_for(lambda: cloud.report(wanted).log_bytes)
    cloud.stop_job(wanted, "stopped")
    report = wait_for(ended(cloud, wanted))
    assert report.end.why == "stopped"
    wait_for(lambda: gone(live, wanted))


def test_a_bucket_that_fails_for_a_while_loses_nothing(
    live: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(live, run_id)
    cloud.create(wanted, Payload({"command": "for i in 1 2 3 4; do echo line $i; sleep 0.5; done"}))
    wait_for(lambda: cloud.report(wanted).status)
    live.faults.failing["PutObject"] = 12
    report = wait_for(ended(cloud, wanted))
    assert report.end.why == "finished"
    log = whole_log(cloud, wanted, report.log_bytes)
    assert [line for line in log.splitlines() if line.startswith("line")] == [
        f"line {number}" for number in (1, 2, 3, 4)
    ]


def test_one_lost_machine_of_several_ends_the_run(
    live: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    wanted = intent(live, run_id, nodes=2)
    machine = cloud.create(wanted, Payload({"command": "sleep 600"}))
    wait_for(lambda: cloud.report(wanted).status)
    live.ec2.end(live.vms(wanted.token)[1])
    report = wait_for(ended(cloud, wanted))
    assert report.end.why == "machine_failed"
    cloud.terminate(machine.id)
    wait_for(lambda: gone(live, wanted))
