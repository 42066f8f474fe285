"""Slurm's commands on this machine: what they are asked, how they answer, and how they say no.

Options and formats are those that versions of ten years ago have (slurm.schedmd.com/squeue.html,
sacct.html, sbatch.html). Jobs are asked for by their name, which is the attempt's token: a
controller that is killed within seconds of taking a job may forget it, and give its id to another.
"""

import os
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pwd import getpwuid

from mlbroker.broker.clouds.interface import (
    Denied,
    MachineState,
    NoQuota,
    Unclear,
    Unfit,
    one_line,
    refusals_make_nothing,
)

# A controller that is down is asked three times by Slurm itself, for some nine seconds.
CALL_S = 60
# The controller looks for jobs past their limit every half minute.
LATE_S = 30.0
USUAL_KILL_WAIT_S = 30.0
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "SLURM_CONF")
_PENDING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
                      "RESV_DEL_HOLD", "SPECIAL_EXIT"})  # fmt: skip
# Of a job that Slurm knows nothing of any more, while its box does.
GONE = "GONE"
OVER = frozenset({GONE, "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "PREEMPTED", "NODE_FAIL",
                  "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "REVOKED"})  # fmt: skip
_QUOTA = re.compile("accounting/QOS policy|limit|AssocGrp|QOSMax", re.IGNORECASE)
_DENIED = re.compile("partition|account|qos|permi|denied|group|user", re.IGNORECASE)
_NO_ANSWER = re.compile(
    "contact slurm controller|timed out|connect|transmitted or received|authentication error|munge"
    "|temporarily|not responding|fetching|DNS SRV|resolve",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Slurm tells of it. `started_at` is None before it started; `due_at` is its limit's
    end while it runs.
    """

    name: str
    word: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    due_at: datetime | None = None
    reason: str | None = None

    @property
    def state(self) -> MachineState:
        """What is not known counts as running: it may cost."""
        if self.word in _PENDING:
            return MachineState.PENDING
        if self.word == "COMPLETING":
            return MachineState.TERMINATING
        return MachineState.TERMINATED if self.word in OVER else MachineState.RUNNING


@dataclass(frozen=True, slots=True)
class Partition:
    """How long its jobs may take; None is any time. `over_s`: how far past their limit, None: any.

    `over_s` is the whole cluster's where the partition has none of its own.
    """

    name: str
    is_default: bool
    most_s: float | None
    over_s: float | None


@dataclass(frozen=True, slots=True)
class Site:
    """What of a cluster's configuration matters here. `stores_environment`: for good."""

    cluster: str
    version: str
    kill_wait_s: float
    accounting: bool
    enforces: str
    stores_environment: bool
    partitions: tuple[Partition, ...]

    def slack_s(self, names: Collection[str | None]) -> float:
        """How long after its limit a job in one of these partitions may still be there.

        What lets jobs run past it for any time is not counted: it is refused.
        """
        used = [found for found in map(self.partition, names) if found is not None]
        over_s = max((found.over_s or 0.0 for found in used), default=0.0)
        return LATE_S + self.kill_wait_s + over_s

    def partition(self, name: str | None) -> Partition | None:
        """By name; without one, where jobs go that name none."""
        named = (p for p in self.partitions if p.name == name or (name is None and p.is_default))
        return next(named, None)


def user() -> str:
    """Whose jobs these are."""
    return getpwuid(os.getuid()).pw_name


def site() -> Site:
    """The cluster's configuration as its controller has it."""
    told = {
        name.strip(): value.strip()
        for name, _, value in (line.partition("=") for line in _asked("scontrol", "show", "config"))
    }
    over_s = _over_s(told.get("OverTimeLimit", "0"), 0.0)
    rows = [
        dict(word.partition("=")[::2] for word in line.split())
        for line in _asked("scontrol", "--oneliner", "--all", "show", "partition")
        if line.startswith("PartitionName=")
    ]
    if "ClusterName" not in told:
        raise Unclear("scontrol shows no configuration", where="slurm")
    return Site(
        cluster=told["ClusterName"],
        version=told.get("SLURM_VERSION", ""),
        kill_wait_s=_seconds(told.get("KillWait")) or 0.0,
        accounting=not told.get("AccountingStorageType", "").endswith("none"),
        enforces=told.get("AccountingStorageEnforce", ""),
        stores_environment="job_env" in told.get("AccountingStoreFlags", ""),
        partitions=tuple(
            Partition(
                name=row["PartitionName"],
                is_default=row.get("Default") == "YES",
                most_s=_limit_s(row.get("MaxTime", "UNLIMITED")),
                over_s=_over_s(row.get("OverTimeLimit", "NONE"), over_s),
            )
            for row in rows
        ),
    )


def jobs(name: str | None = None) -> list[Job]:
    """This user's jobs of this name, or all; those that are over for as long as they are listed,
    by default five minutes.
    """
    named = [] if name is None else [f"--name={name}"]
    form = "%j|%T|%S|%e|%r"
    lines = _asked(
        "squeue", "--noheader", "--all", "--states=all", f"--user={user()}", *named, "-o", form
    )
    found = [_job(line.rsplit("|", 4)) for line in lines if line.count("|") >= 4]
    return [job for job in found if name is None or job.name == name]


def past_jobs(name: str, since: datetime) -> list[Job]:
    """Those that the accounting has seen end; none where there is no accounting, or no answer.

    What it takes for alive may long be forgotten by the controller, and is left out.
    """
    form = "JobName,State,Start,End"
    try:
        lines = _asked(
            "sacct", "--noheader", "--parsable2", "--allocations", f"--user={user()}",
            f"--name={name}", f"--starttime={since:%Y-%m-%dT%H:%M:%S}", f"--format={form}",
        )  # fmt: skip
    except (Unclear, Denied):
        return []
    found = [_job([*line.rsplit("|", 3), ""]) for line in lines if line.count("|") >= 3]
    return [job for job in found if job.name == name and job.word in OVER]


def submit(options: Sequence[str], script: str, more: Mapping[str, str]) -> None:
    """Hand a job over. It gets the variables of a login, and `more`.

    Raises Unclear where it may have been taken all the same.
    """
    done = _run(["sbatch", "--parsable", *options], {**_environment(), **more}, script)
    if done.returncode != 0:
        with refusals_make_nothing():
            raise refusal(_said(done.stderr))


def cancel(name: str) -> None:
    """End all jobs of this name, pending ones too; that there are none is no fault."""
    _asked("scancel", f"--name={name}", f"--user={user()}")


def hold(name: str, *, held: bool) -> None:
    """Keep jobs of this name from starting, or let them."""
    _asked("scontrol", "hold" if held else "release", f"jobname={name}")


def refusal(said: str) -> Unclear | NoQuota | Denied | Unfit:
    """What sbatch said, as one of ours. There is no `no capacity`: it waits for that."""
    hint = "What Slurm has: sinfo, and `mlbroker doctor --cloud slurm`."
    if _NO_ANSWER.search(said):
        return Unclear(said, where="slurm")
    if "policy" in said or (_QUOTA.search(said) and "time limit is invalid" not in said):
        return NoQuota(said, where="slurm", hint=hint)
    if "submission failed" not in said or _DENIED.search(said):
        return Denied(said, where="slurm", hint=hint)
    return Unfit(said, where="slurm", hint=hint)


def _asked(*words: str) -> list[str]:
    """The lines of an answer, with times in UTC."""
    done = _run(list(words), {**_environment(), "TZ": "UTC", "SLURM_TIME_FORMAT": "standard"})
    said = _said(done.stderr)
    if done.returncode != 0 or _NO_ANSWER.search(said):
        raise Unclear(said or f"{words[0]}: exit {done.returncode}", where="slurm")
    return done.stdout.splitlines()


def _run(
    words: list[str], environment: Mapping[str, str], stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            words, input=stdin, env=environment, capture_output=True, text=True, errors="replace",
            timeout=CALL_S, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        hint = "Call mlbroker where Slurm's commands are: on a login node."
        missing = Denied(f"there is no {words[0]} on this machine", where="slurm", hint=hint)
        missing.made_nothing = True
        raise missing from None
    except subprocess.TimeoutExpired:
        raise Unclear(f"{words[0]} did not answer in {CALL_S} s", where="slurm") from None


def _environment() -> dict[str, str]:
    """Without SBATCH_… and SLURM_…, which would change what is asked; jobs get it too."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _said(stderr: str) -> str:
    lines = [line.partition("error: ")[2] or line for line in stderr.splitlines() if line.strip()]
    return one_line("; ".join(dict.fromkeys(lines)))


def _job(fields: Sequence[str]) -> Job:
    name, word, start, end, reason = fields
    # "CANCELLED by 1000"
    word = word.split()[0] if word.split() else ""
    job = Job(name, word, reason=None if reason in ("", "None") else reason)
    if job.state is MachineState.PENDING:
        # What it tells of times is what it expects.
        return job
    started, ended = _moment(start), _moment(end)
    if job.state is not MachineState.TERMINATED:
        return Job(name, word, started, due_at=ended, reason=job.reason)
    if word in ("CANCELLED", "DEADLINE", "REVOKED") and (started is None or started == ended):
        started = None
    if started is not None and ended is not None:
        # It tells whole seconds: what worked for less than one did not cost nothing.
        ended = max(ended, started + timedelta(seconds=1))
    return Job(name, word, started, ended, reason=job.reason)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _limit_s(text: str) -> float | None:
    """Slurm's `D-HH:MM:SS`, `HH:MM:SS` and `MM:SS`; None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return span.total_seconds()


def _over_s(text: str, otherwise: float | None) -> float | None:
    """Of `5 min` or `5`; None for any time."""
    if text.startswith("UNLIMITED"):
        return None
    minutes = re.match(r"\d+", text)
    return otherwise if minutes is None else int(minutes[0]) * 60.0


def _seconds(text: str | None) -> float | None:
    number = re.match(r"\d+", text or "")
    return None if number is None else float(number[0])
