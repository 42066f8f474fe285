"""All that a guest says, read into values. Nothing here fails, whatever was said.

A job may write to its machine's files and to its folder in the bucket, so what comes from there
has any type, size and depth. What is not understood counts as not said, and is named once in
`Report.unclear`. What a run costs and when it ends is never taken from here alone: see the driver.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mlbroker.broker.guest.box import FOLLOWS, TRAINING
from mlbroker.broker.said import LONGEST_S, MOST_STEPS, Said

# Longer documents are no reports.
REPORT_BYTES = 1 << 18
# The answer about all boxes of a machine, and about one.
ANSWER_BYTES = 1 << 25
MOST_BYTES = 2**63 - 1

PHASES = frozenset({"preparing", "setup", "running", "ending"})
ENDS = frozenset(
    {
        "finished", "failed", "setup_failed", "capped", "stopped", "idle", "overrun", "move",
        "adapt", "yield", "preempted", "machine_failed", FOLLOWS,
    }
)  # fmt: skip
STATES = frozenset({"none", "alive", "over"})


@dataclass(frozen=True, slots=True)
class ToldGpu:
    """One of a machine's GPUs, under its maker's name."""

    model: str
    memory_gib: float


@dataclass(frozen=True, slots=True)
class ToldMachine:
    """A machine by its own account."""

    vcpus: int
    memory_gib: float
    arch: str
    cpu: str | None = None
    gpus: tuple[ToldGpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """What the guest measured of the job's command. None is what it did not say.

    `setup_s` passed before it began; `points` are steps done and the seconds of the command by
    then, both growing, of `steps` in all. `resumed`: it did not begin with the first step. `cpu` is
    in cores, `gpu` the share of time that the busiest one was busy, `gpu_w` what all GPUs drew on
    average, and `package_j` what the processors drew in all. Nothing was done for `unused_s` of the
    command, and the latest checkpoint was saved `saved_s` after its start. `training` has what the
    job and its hooks say of the gradient noise, as text: see `profiles.noise_seen`.
    """

    command_s: float
    setup_s: float | None = None
    points: tuple[tuple[int, float], ...] = ()
    steps: int | None = None
    resumed: bool = False
    cpu: float | None = None
    gpu: float | None = None
    gpu_w: float | None = None
    package_j: float | None = None
    unused_s: float | None = None
    saved_s: float | None = None
    peak_memory_gib: float | None = None
    peak_gpu_memory_gib: float | None = None
    machine: ToldMachine | None = None
    training: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The guest's heartbeat; None is what it did not say.

    `elapsed_s` counts from the job's start, `counted_by` is who counts its steps, `checkpoint_at`
    is the time of the last save in seconds since 1970 and `checkpoint_fault` why the latest came to
    nothing, `cpu` is in cores, `gpu` the busy share of the busiest one.
    """

    phase: str = ""
    elapsed_s: float | None = None
    step: int | None = None
    steps: int | None = None
    counted_by: str | None = None
    cpu: float | None = None
    gpu: float | None = None
    idle_s: float | None = None
    checkpoint_at: float | None = None
    checkpoint_fault: str | None = None
    figures: Figures | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How the job ended. `why` is one of ENDS; of several machines, `rank` ended the run."""

    why: str
    exit_code: int | None = None
    detail: str | None = None
    elapsed_s: float | None = None
    step: int | None = None
    steps: int | None = None
    counted_by: str | None = None
    rank: int | None = None
    log_bytes_dropped: int = 0
    figures: Figures | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the guest last said: its heartbeat, and its end record once it has ended.

    `ended` says how the job ended as soon as it has, `end` the same when its files can be fetched.
    `log_bytes` and `checkpoint_bytes` say how much there is to fetch. Of a run of several machines
    all are those of rank 0, save `other_log_bytes`, which are those of ranks 1, 2, …, and the ends,
    which name the `rank` that ended it. `unclear` names what was said and not understood.
    """

    status: Status | None = None
    end: End | None = None
    ended: End | None = None
    log_bytes: int = 0
    checkpoint_bytes: int = 0
    other_log_bytes: tuple[int, ...] = ()
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoxSeen:
    """A box as the guest program on its machine shows it: `state` is one of STATES."""

    state: str
    tags: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    report: Report = Report()


def document(data: bytes | None, at_most: int = REPORT_BYTES) -> Mapping[str, object]:
    """A JSON object; an empty one for whatever is none, or is longer than `at_most`."""
    if not data or len(data) > at_most:
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def report_in(data: bytes | None) -> Report:
    """One machine's report, as the bucket holds it."""
    found = document(data)
    return report_of(found) if found or not data else Report(unclear=("report",))


def report_of(raw: object) -> Report:
    """The same, of what is read already."""
    said = Said(raw)
    return Report(
        status=_status(said),
        end=_end(said, "end"),
        ended=_end(said, "ended"),
        log_bytes=said.count("log_bytes", MOST_BYTES) or 0,
        checkpoint_bytes=said.count("checkpoint_bytes", MOST_BYTES) or 0,
        unclear=tuple(said.unclear),
    )


def box_of(raw: object) -> BoxSeen | None:
    """The guest program's answer to `show`; None when it is no answer at all."""
    said = Said(raw)
    state = said.word("state", STATES)
    if state is None:
        return None
    tags = said.inner("tags")
    told = {} if tags is None else tags.texts()
    return BoxSeen(state, told, said.moment("started_at"), report_of(raw))


def boxes_of(raw: object) -> Mapping[str, BoxSeen] | None:
    """The guest program's answer to `list`, by token; None when it is no answer at all."""
    boxes = Said(raw).inner("boxes")
    if boxes is None:
        return None
    found = {token: box_of(shown) for token, shown in boxes.raw.items()}
    return {token: seen for token, seen in found.items() if seen is not None}


def joint_report(reports: Sequence[Report]) -> Report:
    """Of a run on several machines, by rank: the first one's, with the end of all."""
    first = reports[0]
    return Report(
        status=first.status,
        end=joint_end([report.end for report in reports]),
        ended=joint_end([report.end or report.ended for report in reports]),
        log_bytes=first.log_bytes,
        checkpoint_bytes=first.checkpoint_bytes,
        other_log_bytes=tuple(report.log_bytes for report in reports[1:]),
        unclear=tuple(dict.fromkeys(name for report in reports for name in report.unclear)),
    )


def unfinished(reports: Sequence[Report]) -> set[int]:
    """The ranks of machines whose job has not ended, as far as they told."""
    return {rank for rank, told in enumerate(reports) if told.end is None and told.ended is None}


def joint_end(ends: Sequence[End | None]) -> End | None:
    """How a run of several machines ended: by the one that failed, or when all are done."""
    failed = [
        replace(end, rank=rank)
        for rank, end in enumerate(ends)
        if end is not None and end.why != "finished"
    ]
    # Those that were ended for another's sake only follow.
    failed.sort(key=lambda end: end.why == FOLLOWS)
    if failed:
        return failed[0]
    return ends[0] if all(end is not None for end in ends) else None


def log_part_offset(name: str) -> int | None:
    """Where a part of the log in the bucket begins, by its name; None for what is no such name."""
    return int(name) if len(name) == 15 and name.isascii() and name.isdigit() else None


def _status(said: Said) -> Status | None:
    told = said.inner("status")
    if told is None:
        return None
    steps = told.count("steps", MOST_STEPS)
    return Status(
        phase=told.word("phase", PHASES) or "",
        elapsed_s=told.number("elapsed_s", LONGEST_S),
        step=told.count("step", MOST_STEPS),
        # No job has none: it has not said how many.
        steps=steps or None,
        counted_by=told.text("counted_by"),
        cpu=told.number("cpu", 1e6),
        gpu=told.number("gpu", 1e3),
        idle_s=told.number("idle_s", LONGEST_S),
        checkpoint_at=told.number("checkpoint_at", 1e11),
        checkpoint_fault=told.text("checkpoint_fault"),
        figures=_figures(told),
    )


def _end(said: Said, name: str) -> End | None:
    told = said.inner(name)
    why = None if told is None else told.word("why", ENDS)
    if told is None or why is None:
        if told is not None and told.raw.get("why") is None:
            said.unclear.append(name)
        return None
    return End(
        why=why,
        exit_code=told.count("exit_code", 255),
        detail=told.text("detail"),
        elapsed_s=told.number("elapsed_s", LONGEST_S),
        step=told.count("step", MOST_STEPS),
        steps=told.count("steps", MOST_STEPS) or None,
        counted_by=told.text("counted_by"),
        log_bytes_dropped=told.count("log_bytes_dropped", MOST_BYTES) or 0,
        figures=_figures(told),
    )


def figures_of(raw: object) -> Figures | None:
    """The same, as the ledger kept them."""
    return _figures(Said({"figures": raw}))


def _figures(said: Said) -> Figures | None:
    told = said.inner("figures")
    command_s = None if told is None else told.number("command_s", LONGEST_S)
    if told is None or not command_s:
        return None
    return Figures(
        command_s=command_s,
        setup_s=told.number("setup_s", LONGEST_S),
        points=told.points("points"),
        steps=told.count("steps", MOST_STEPS) or None,
        resumed=told.raw.get("resumed") is True,
        cpu=told.number("cpu", 1e6),
        gpu=told.number("gpu", 1e3),
        gpu_w=told.number("gpu_w", 1e6),
        package_j=told.number("package_j", 1e15),
        unused_s=told.number("unused_s", LONGEST_S),
        saved_s=told.number("saved_s", LONGEST_S),
        peak_memory_gib=told.number("peak_memory_gib", 1e6) or None,
        peak_gpu_memory_gib=told.number("peak_gpu_memory_gib", 1e6) or None,
        machine=_machine(told),
        training=_training(told),
    )


def _training(said: Said) -> Mapping[str, str]:
    told = said.inner("training")
    texts = {} if told is None else {name: told.text(name) for name in TRAINING}
    return {name: text for name, text in texts.items() if text is not None}


def _machine(said: Said) -> ToldMachine | None:
    told = said.inner("machine")
    if told is None:
        return None
    vcpus, memory_gib = told.count("vcpus", 1 << 20), told.number("memory_gib", 1e6)
    arch = told.word("arch", frozenset({"x86_64", "arm64"}))
    if not vcpus or not memory_gib or arch is None:
        return None
    gpus = [(gpu.text("model"), gpu.number("memory_gib", 1e6)) for gpu in told.inners("gpus", 64)]
    named = tuple(ToldGpu(model, size) for model, size in gpus if model and size)
    return ToldMachine(vcpus, memory_gib, arch, told.text("cpu"), named)
