"""What Slurm's commands say, read into values; the jobs that they are asked for."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from mlbroker.broker.clouds.interface import (
    Denied,
    Intent,
    MachineState,
    NoQuota,
    Payload,
    Unclear,
    Unfit,
)
from mlbroker.broker.clouds.slurm import calls
from mlbroker.broker.clouds.slurm.calls import GONE, Job, Partition
from mlbroker.broker.clouds.slurm.cloud import SlurmCloud
from mlbroker.broker.clouds.slurm.machines import most_telling, tags_of, word_since
from mlbroker.broker.clouds.slurm.request import minutes_of, options_of, script_of
from mlbroker.broker.files.node_slurm import SlurmPlace
from mlbroker.broker.files.nodes import Node
from mlbroker.pricing.offer import Gpu, Hardware

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOKEN = "mlb-20261129-120000-0123abcd-1"  # names an attempt
CONFIG = """Configuration data as of 2026-11-29T12:00:00
ClusterName             = big
SLURM_VERSION           = 17.11.13
KillWait                = 45 sec
OverTimeLimit           = {over}
AccountingStorageType   = accounting_storage/{accounting}
AccountingStorageEnforce = associations,limits,qos,safe
AccountingStoreFlags    = {flags}
"""
PARTITIONS = """PartitionName=day AllowGroups=ALL Default=YES MaxTime=1-12:00:00 OverTimeLimit=NONE
PartitionName=late AllowGroups=ALL Default=NO MaxTime=UNLIMITED OverTimeLimit=5
PartitionName=any AllowGroups=ALL Default=NO MaxTime=90:30 OverTimeLimit=UNLIMITED
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that stand for Slurm's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def answers(folder: Path, name: str, text: str, code: int = 0, error: str = "") -> None:
    (folder / f"{name}.txt").write_text(text)
    (folder / f"{name}.err").write_text(error)
    script = f'#!/bin/sh\necho "$@" >> {folder}/{name}.asked\n/bin/cat {folder}/{name}.txt\n'
    (folder / name).write_text(f"{script}/bin/cat {folder}/{name}.err >&2\nexit {code}\n")
    (folder / name).chmod(0o755)


def site_answers(
    folder: Path, over: str = "0 min", accounting: str = "slurmdbd", flags: str = "(null)"
) -> None:
    config = CONFIG.format(over=over, accounting=accounting, flags=flags)
    (folder / "config").write_text(config)
    (folder / "partitions").write_text(PARTITIONS)
    script = (
        f'case "$*" in *config) /bin/cat {folder}/config;; *) /bin/cat {folder}/partitions;; esac\n'
    )
    (folder / "scontrol").write_text(f"#!/bin/sh\n{script}")
    (folder / "scontrol").chmod(0o755)


def test_a_cluster_is_read_from_its_controller(commands: Path) -> None:
    site_answers(commands, over="2 min")
    site = calls.site()
    assert (site.cluster, site.version, site.accounting) == ("big", "17.11.13", True)
    assert not site.stores_environment
    assert site.partition(None) == Partition("day", True, 36 * 3600.0, 120.0)
    assert site.partition("late") == Partition("late", False, None, 300.0)
    assert site.partition("any") == Partition("any", False, 90 * 60 + 30.0, None)
    assert site.partition("none") is None
    # Half a minute until the controller looks, KillWait, and OverTimeLimit.
    assert site.slack_s([None]) == site.slack_s(["day"]) == 30 + 45 + 120
    assert site.slack_s(["day", "late", "any"]) == 30 + 45 + 300


def test_jobs_are_asked_for_by_name_and_user(commands: Path) -> None:
    answers(commands, "squeue", (
        f"{TOKEN}|RUNNING|2026-11-29T12:00:00|2026-11-29T12:10:00|None\n"
        f"{TOKEN}|PENDING|2026-11-29T14:00:00|2026-11-29T14:10:00|Resources\n"
        f"{TOKEN}|CANCELLED|2026-11-29T12:00:09|2026-11-29T12:00:09|None\n"
        f"{TOKEN}|TIMEOUT|2026-11-29T12:00:00|2026-11-29T12:10:21|TimeLimit\n"
        f"{TOKEN}|COMPLETED|2026-11-29T12:00:00|2026-11-29T12:00:00|None\n"
        f"a|b {TOKEN}|RUNNING|2026-11-29T12:00:00|N/A|None\n"
        "odd\n"
    ))  # fmt: skip
    running, pending, cancelled, late, quick = calls.jobs(TOKEN)
    assert quick.ended_at == NOON + timedelta(seconds=1), "a start and an end in one second"
    due = NOON + timedelta(minutes=10)
    assert running == Job(TOKEN, "RUNNING", NOON, due_at=due)
    assert pending == Job(TOKEN, "PENDING", reason="Resources"), "what is expected is no start"
    assert (cancelled.started_at, cancelled.ended_at) == (None, NOON + timedelta(seconds=9))
    assert (late.state, late.ended_at) == (MachineState.TERMINATED, due + timedelta(seconds=21))
    asked = (commands / "squeue.asked").read_text().split()
    assert f"--name={TOKEN}" in asked
    assert f"--user={calls.user()}" in asked
    assert "--states=all" in asked
    assert calls.jobs()[5].name == f"a|b {TOKEN}"


def test_accounting_tells_only_of_ends(commands: Path) -> None:
    """What it takes for alive, a controller that was killed may have forgotten long ago."""
    answers(commands, "sacct", (
        f"{TOKEN}|RUNNING|2026-11-29T12:00:00|Unknown\n"
        f"{TOKEN}|CANCELLED by 1000|2026-11-29T12:00:00|2026-11-29T12:01:00\n"
    ))  # fmt: skip
    (past,) = calls.past_jobs(TOKEN, NOON)
    assert (past.word, past.started_at) == ("CANCELLED", NOON)
    answers(commands, "sacct", "", 1, "Slurm accounting storage is disabled")
    assert calls.past_jobs(TOKEN, NOON) == []


def test_a_controller_that_is_down_is_no_empty_listing(commands: Path) -> None:
    error = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    answers(commands, "squeue", "", 1, error)
    with pytest.raises(Unclear, match="Unable to contact"):
        calls.jobs(TOKEN)
    with pytest.raises(Denied, match="no scancel on this machine"):
        calls.cancel(TOKEN)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Batch job submission failed: Unable to contact slurm controller", Unclear),
        ("Batch job submission failed: Socket timed out on send/recv operation", Unclear),
        ("Batch job submission failed: Job violates accounting/QOS policy (job submit limit, "
         "user's size and/or time limits)", NoQuota),
        ("Batch job submission failed: Requested node configuration is not available", Unfit),
        ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some "
         "limit)", Unfit),
        ("Invalid generic resource (gres) specification; Batch job submission failed: Invalid "
         "generic resource (gres) specification", Unfit),
        ("Batch job submission failed: Invalid partition name specified", Denied),
        ("Batch job submission failed: Invalid account or account/partition combination "
         "specified", Denied),
        ("unrecognized option '--bad'", Denied),
    ],
)  # fmt: skip
def test_refusals_are_told_apart(said: str, kind: type[Exception]) -> None:
    assert type(calls.refusal(said)) is kind


def job(word: str, start: int | None = None) -> Job:
    return Job(TOKEN, word, None if start is None else NOON + timedelta(seconds=start))


def test_what_was_cancelled_in_the_second_of_its_start_keeps_slurms_word() -> None:
    """It is listed like one that never started; so is one that was cancelled before it could."""
    began = NOON + timedelta(milliseconds=320)
    same = Job(TOKEN, "CANCELLED", None, NOON)
    assert word_since([same], began) == "CANCELLED"
    assert word_since([Job(TOKEN, "CANCELLED", None, NOON - timedelta(seconds=1))], began) == GONE
    assert word_since([job("PENDING")], began) == GONE
    assert word_since([same], None) == GONE


def test_of_several_jobs_of_one_name_the_one_that_works_is_meant() -> None:
    """A second one, of a request that was repeated, only sees that the box is used."""
    pending, running, done = job("PENDING"), job("RUNNING", 5), job("COMPLETED", 1)
    later = job("COMPLETED", 9)
    assert most_telling([pending, running, done], started=True) == running
    assert most_telling([pending, done, later], started=True) == done
    assert most_telling([pending, job("CANCELLED")], started=False) == pending
    assert most_telling([done, job("CANCELLED")], started=False) == done
    assert most_telling([], started=True) is None
    # A controller that was killed takes it up as it last wrote it down: its box knows better.
    assert most_telling([pending, job("CANCELLED")], started=True) is None
    assert tags_of("somebody-else") == {}
    assert tags_of(TOKEN)["mlbroker-run"] == "20261129-120000-0123abcd"


def intent(lifetime_s: float) -> Intent:
    return Intent(
        TOKEN, "20261129-120000-0123abcd", 1, "job", "slurm", "on-prem", None, "cluster",
        "on_demand", 1, Decimal(1), NOON, NOON + timedelta(seconds=lifetime_s),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lifetime_s", "most_s", "minutes"),
    [(600, None, 10), (599.99, None, 10), (3, None, 1), (600, 120.0, 2), (600, 1e9, 10)],
)
def test_limits_are_whole_minutes_within_the_partitions(
    lifetime_s: float, most_s: float | None, minutes: int
) -> None:
    assert minutes_of(intent(lifetime_s), Partition("p", True, most_s, 0.0)) == minutes


def test_what_sbatch_is_asked_for() -> None:
    hardware = Hardware(7.5, 30.5, "x86_64", gpu=Gpu("A100", 40), gpu_count=2)
    node = Node("cluster", hardware, Decimal(1), "stated")
    place = SlurmPlace("gpu", "lab", None, "a100&nvlink", "gpu:a100")
    options = options_of(TOKEN, node, place, 90, Path("/shared/100% ours"))
    assert options == [
        "--no-requeue", f"--job-name={TOKEN}", "--dependency=singleton", "--time=90", "--nodes=1",
        "--ntasks=1", "--cpus-per-task=8", "--mem=31232M", "--chdir=/shared/100% ours",
        "--output=/shared/100%% ours/guest.log", "--open-mode=append", "--comment=mlbroker",
        "--partition=gpu", "--account=lab", "--constraint=a100&nvlink", "--gres=gpu:a100:2",
    ]  # fmt: skip
    script = script_of(Path("/shared/it's; ours"), "guest.pyz")
    assert script.splitlines()[1].endswith("""attend '/shared/it'"'"'s; ours'""")


NODES = "nodes: [{name: cluster, slurm: {partition: %s}, price_per_hour_usd: 1, hardware: {vcpus: 1, memory_gib: 1}}]"  # noqa: E501


def cloud(folder: Path, partition: str) -> SlurmCloud:
    (folder / "nodes.yaml").write_text(NODES % partition)
    return SlurmCloud(folder)


def test_no_cap_is_promised_where_none_would_hold(commands: Path, tmp_path: Path) -> None:
    site_answers(commands)
    with pytest.raises(Denied, match="past their limit for any time") as refused:
        cloud(tmp_path, "any").arm_kill(intent(600))
    assert refused.value.made_nothing


def test_a_slack_that_was_not_known_at_the_reservation_is_refused(
    commands: Path, tmp_path: Path
) -> None:
    answers(commands, "scontrol", "", 1, "Unable to contact slurm controller")
    slurm = cloud(tmp_path, "day")
    assert slurm.traits.kill_slack_s == 60, "Slurm's usual KillWait"
    with pytest.raises(Denied, match="nothing is launched"):
        slurm.arm_kill(intent(600))
    site_answers(commands)
    with pytest.raises(Denied, match="75 s past their limit"):
        slurm.arm_kill(intent(600))
    later = SlurmCloud(tmp_path)
    assert later.traits.kill_slack_s == 75
    later.arm_kill(intent(600))
    # Whoever finds no controller reckons with what it last said.
    answers(commands, "scontrol", "", 1, "Unable to contact slurm controller")
    assert SlurmCloud(tmp_path).traits.kill_slack_s == 75


def test_secrets_are_not_handed_to_a_slurm_that_keeps_them(commands: Path, tmp_path: Path) -> None:
    site_answers(commands, flags="job_env,job_script", accounting="none")
    answers(commands, "squeue", "")
    slurm = cloud(tmp_path, "day")
    slurm.arm_kill(intent(600))
    with pytest.raises(Denied, match="keeps the environment of jobs"):
        slurm.create(intent(600), Payload({"command": "true"}, secrets={"KEY": "hidden"}))


def test_a_job_that_waits_is_asked_for_more_and_more_rarely(commands: Path, tmp_path: Path) -> None:
    site_answers(commands, accounting="none")
    answers(commands, "squeue", f"{TOKEN}|PENDING|N/A|N/A|Priority\n")
    now = [0.0]
    slurm = SlurmCloud(tmp_path, clock=lambda: now[0])
    for second in range(1000):
        now[0] = float(second)
        seen = slurm.status(f"cluster/{TOKEN}")
        assert seen is not None
        assert seen.says == "Priority"
    asked = len((commands / "squeue.asked").read_text().splitlines())
    assert asked < 90
