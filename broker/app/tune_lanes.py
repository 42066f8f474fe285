"""The runs of a study: how many there are, what each may cost, and that one client begins them."""

import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any

from mlbroker.broker.app.listener import Listener, Silent
from mlbroker.broker.app.run import PreparedRun, RunRequest, prepare
from mlbroker.broker.app.tune_show import work_left
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger import STUDY, Ledger, Run, Share, open_ledger, share_in
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import worst_case
from mlbroker.broker.runs.leading import led
from mlbroker.broker.runs.lesson import remember_trials
from mlbroker.broker.tuning.batch import BATCH, FOLDER
from mlbroker.broker.tuning.lane import LIFETIME, NUMBER, ROUND
from mlbroker.broker.tuning.record import StudyFolder, StudyState
from mlbroker.broker.tuning.waves import COMMAND, Stretch, collect, program
from mlbroker.broker.tuning.writer import Writer
from mlbroker.broker.words import exact_usd
from mlbroker.policies.tuning.budget import whole_trial
from mlbroker.policies.tuning.lanes import lanes as lanes_by_rule
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.job import Checkpoint, Job

# Lanes that nobody asked for by number.
MOST_RENTED = 8
# The first wave of a job that nobody measured is on so many kinds of machine: the plan's first of
# each GPU, or of twice the processors.
PROBES = 3
# How often trials are brought home where the job does not say it of its checkpoint.
_SAVED_EVERY_S = 300.0


@dataclass(frozen=True, slots=True)
class LanePlan:
    """The lanes that are about to begin; `budget_usd` is what all may cost together, at most, and
    `paid_s` for how many seconds of one it pays, as far as the deadline leaves them. `kinds` are
    the machines, several where these are compared.
    """

    lanes: tuple[PreparedRun, ...]
    budget_usd: Decimal
    paid_s: float

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(lane.options[0].instance_type for lane in self.lanes))


def plan_lanes(
    request: RunRequest,
    folder: StudyFolder,
    terms: Mapping[str, Any],
    state: Path,
    listener: Listener,
    *,
    new_cap: bool,
) -> LanePlan:
    """As many as the deadline asks for, the machine has cores for, and the budget pays."""
    job = request.job
    study_id = terms.get("id", terms["name"])
    share = None if new_cap else _last_share(open_ledger(state), study_id)
    if share is None and job.budget_usd is not None:
        share = Share(STUDY, terms["name"], study_id, token_hex(8), job.budget_usd)
    budget_usd = job.budget_usd
    if share is not None:
        budget_usd = share.left_usd(open_ledger(state).runs())
        if budget_usd <= 0:
            raise RefusedError(
                f"study {terms['name']} spent all of its {exact_usd(share.budget_usd)} USD",
                hint="Give --budget for the rest of the work.",
            )
    here = request.on is not None
    alone = replace(_lane(job, folder) if here else _rented(job, terms), budget_usd=budget_usd)
    # Here no machine is chosen, and what a lane takes is not what its job would.
    asked = replace(request, job=alone, share=share, measured_as=None if here else job)
    prepared = prepare(asked, state, listener)
    deadline_s = math.inf if job.deadline is None else job.deadline.seconds_from(prepared.now)
    paid_s = float(prepared.worst.lifetime_s)
    wanted, room = _bounds(job, listener) if here else _bounds_rented(job)
    if wanted is None:
        assert job.study is not None
        found = folder.load() if folder.exists else StudyState(job.study)
        work = work_left(found)._replace(trials=job.study.trials)
        wanted = lanes_by_rule(work, None if job.deadline is None else deadline_s, paid_s, room)
    free = job.study is None or job.study.lanes is None
    wholes = [prepared]
    if not here and prepared.expected.command_s is None and not folder.exists:
        asked_for = PROBES if free else wanted
        wholes += [
            prepare(replace(asked, filters=asked.filters._replace(instance_types=(kind,))), state,
                    Silent())
            for kind in _others_to_try(prepared, state)[: asked_for - 1]
        ]  # fmt: skip
        wanted = max(wanted, len(wholes))
    parts = _parts(wholes, wanted, state, shrinks=free)
    paid_s = min(paid_s, len(parts) * deadline_s)
    if not here:
        return LanePlan(tuple(parts), prepared.cap_usd, paid_s)
    start = token_hex(4)
    whole = [
        _numbered(part, number, len(parts), start, deadline_s)
        for number, part in enumerate(parts, start=1)
    ]
    return LanePlan(tuple(whole), prepared.cap_usd, paid_s)


def _last_share(ledger: Ledger, study_id: str) -> Share | None:
    """The cap that the study's latest run was under."""
    known = (share_in(run, STUDY) for run in reversed(ledger.runs()))
    return next((share for share in known if share and share.whole_id == study_id), None)


def _bounds(job: Job, listener: Listener) -> tuple[int | None, int]:
    """How many lanes the user wants, None: as fits; and how many this machine has cores for.

    Who does not say how many cores a trial takes has given it all.
    """
    cores = len(os.sched_getaffinity(0))
    asked = job.study.lanes if job.study is not None else None
    if asked is not None:
        if asked > cores:
            listener.note(f"parallel: {asked}; this machine has {cores} cores, for as many lanes.")
        return min(asked, cores), cores
    return None, 1 if job.cores is None else max(int(cores / job.cores), 1)


def _bounds_rented(job: Job) -> tuple[int | None, int]:
    """The same of rented machines: without a deadline, one after the other is cheapest."""
    assert job.study is not None
    return job.study.lanes, 1 if job.deadline is None else MOST_RENTED


def _others_to_try(whole: PreparedRun, state: Path) -> list[str]:
    """Types to compare with the plan's choice, in its order."""
    book = open_book(state, whole.request.sources.prices)
    known = {(kind.cloud, kind.name): kind.hardware for _, _, kind in book.types()}
    found: list[str] = []
    seen: list[Hardware] = []
    for quote in (whole.expected, *whole.quotes):
        hardware = known.get((quote.cloud, quote.instance_type))
        if hardware is not None and all(_unlike(hardware, other) for other in seen):
            found.append(quote.instance_type)
            seen.append(hardware)
    return found[1:]


def _unlike(one: Hardware, other: Hardware) -> bool:
    if one.gpu or other.gpu:
        return (one.gpu, one.gpu_count) != (other.gpu, other.gpu_count)
    return max(one.vcpus, other.vcpus) >= 2 * min(one.vcpus, other.vcpus)


def _parts(
    wholes: Sequence[PreparedRun], wanted: int, state: Path, *, shrinks: bool
) -> list[PreparedRun]:
    """The budget in equal parts, one a lane; fewer, where that `shrinks`, if one is too small.

    The lanes take turns at the kinds of machine.
    """
    for number in range(wanted, 1, -1):
        try:
            return [_with_part(wholes[lane % len(wholes)], number, state) for lane in range(number)]
        except RefusedError:
            if not shrinks:
                raise
    return [wholes[0]]


def _with_part(whole: PreparedRun, lanes: int, state: Path) -> PreparedRun:
    """With one of so many equal parts of the budget."""
    cap_usd = (whole.cap_usd / lanes).quantize(MICRO_USD, ROUND_DOWN)
    traits = opener(state)(whole.options[0].cloud).traits
    worst = worst_case(whole.options[0], cap_usd, traits, whole.request.guest_late_s)
    return replace(whole, cap_usd=cap_usd, worst=worst)


def _lane(job: Job, folder: StudyFolder) -> Job:
    """The job of a study's run: the lane, which starts the user's own again and again."""
    words = [sys.executable, "-I", "-m", "mlbroker.broker.tuning.lane", str(folder.path)]
    return replace(job, name=f"{job.name[:90]}.tune", command=f"exec {shlex.join(words)}",
                   study=None, work=None, takes=None, checkpoint=None, progress=None, outputs=(),
                   deadline=None)  # fmt: skip


def _rented(job: Job, terms: Mapping[str, Any]) -> Job:
    """The same on a rented machine, which has to be given trials before it starts."""
    every_s = job.checkpoint.every_s if job.checkpoint else _SAVED_EVERY_S
    return replace(job, name=f"{job.name[:90]}.tune", command=COMMAND, study=None, progress=None,
                   checkpoint=Checkpoint(FOLDER, every_s), outputs=(), deadline=None,
                   workdir=terms["workdir"])  # fmt: skip


def rented(plan: LanePlan, number: int, batches: int, body: str, state: Path) -> PreparedRun:
    """The run that is handed one of so many batches, with its part of the budget."""
    lanes = max(batches, 1)
    part = _with_part(replace(plan.lanes[number - 1], cap_usd=plan.budget_usd), lanes, state)
    job, cap_usd = part.request.job, part.cap_usd
    name = job.name if lanes == 1 else f"{job.name}-{number}"
    whole = replace(job, name=name, envs={**job.envs, BATCH: body}, budget_usd=cap_usd)
    request = replace(part.request, job=whole, beside=program())
    return replace(part, request=request)


def _numbered(
    part: PreparedRun, number: int, lanes: int, start: str, deadline_s: float
) -> PreparedRun:
    """The lane's name, and what it has to know."""
    job = part.request.job
    life_s = min(float(part.worst.lifetime_s), deadline_s)
    told = {LIFETIME: str(life_s), NUMBER: f"{number}/{lanes}", ROUND: start}
    name = job.name if lanes == 1 else f"{job.name}-{number}"
    whole = replace(job, name=name, envs={**job.envs, **told}, budget_usd=part.cap_usd)
    return replace(part, request=replace(part.request, job=whole))


def bring_home(folder: StudyFolder, writer: Writer, state: Path, listener: Listener) -> int:
    """Take in what rented lanes left that are over; how many trials they brought."""
    ledger, brought = open_ledger(state), 0
    with writer.alone():
        lanes = {mine.lane for mine in writer.state.trials if mine.lane is not None}
        for run_id in sorted(lanes):
            run = ledger.run(run_id)
            if run is None or run.settled:
                archive = RunFolder.of(state, run_id).checkpoint
                found = collect(folder, writer, run_id, archive)
                brought += len(found)
                if run is not None:
                    _teach(run, found, writer.state.study.most, state, listener)
    return brought


def _teach(run: Run, found: Sequence[Stretch], most: int, state: Path, listener: Listener) -> None:
    """The next wave's machine is chosen by what this one's trials took on theirs."""
    takes = whole_trial([each for each in found if each.steps > 0], most)
    if takes is not None:
        remember_trials(run, RunFolder.of(state, run.run_id), takes, listener.warn)


def open_lanes(folder: StudyFolder, state: Path) -> list[Run]:
    """Runs of the study that are not settled."""
    terms = folder.terms()
    study_id, runs = terms.get("id", terms["name"]), open_ledger(state).open_runs()
    known = folder.load().runs
    return [
        run
        for run in runs
        if run.run_id in known or ((its := share_in(run, STUDY)) and its.whole_id == study_id)
    ]


def refuse_open_lanes(folder: StudyFolder, state: Path) -> None:
    """Whoever begins others beside them would be a second driver of the study."""
    for run in open_lanes(folder, state):
        raise InputError(
            f"study {folder.path.name} is worked on by run {run.run_id}",
            hint=f"`mlbroker logs -f {run.run_id}` follows it, `mlbroker reconcile` settles one"
            " that is over",
        )


@contextmanager
def driven(folder: StudyFolder, state: Path) -> Iterator[None]:
    """Be the one client that begins runs of the study; refused where another is."""
    name = folder.path.name
    with led(state / "studies" / name, f"study {name}", f"mlbroker tune show {name}"):
        yield
