"""A pipeline that runs: which stage begins when, and what becomes of the whole.

Each stage is a run of its own, carried by a process of its own. What was done is read from the
ledger, so any client can go on where another died.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.pipeline_rest import PipelineRequest, RestPlanner, StagePlan, price_told
from mlbroker.broker.app.run import RunRequest, prepare, reserve
from mlbroker.broker.app.sources import refuse_what_is_not_run
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible, RefusedError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.guest.box import INPUTS
from mlbroker.broker.ledger import PIPELINE, Run, Share, open_ledger
from mlbroker.broker.pipelines.digests import definition_of, digest_of
from mlbroker.broker.pipelines.inputs import beside, lay_out, outputs_of
from mlbroker.broker.pipelines.record import (
    Record,
    StageFact,
    find,
    inputs_folder,
    new_pipeline_id,
    records,
    same_before,
    succeeded,
)
from mlbroker.broker.runs.background import carry_in_background
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.words import exact_usd
from mlbroker.policies.pipeline.shares import shares
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Deadline


class Done(NamedTuple):
    """The run that did a stage; `skipped`, where it is one of an earlier pipeline."""

    run_id: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class Whole:
    """One execution of a pipeline: its cap, and by when it has to be over."""

    share: Share
    deadline_at: datetime | None
    earlier: Record | None


def whole_of(request: PipelineRequest, state: Path) -> Whole:
    """The execution to begin, or to go on with; refused where others are at work, or where it
    began with other stages.
    """
    file, limits, now = request.file, request.limits, datetime.now(UTC)
    names = [each.job.name for each in file.stages]
    if request.again is not None and request.again not in names:
        what = f"there is no stage {quoted(request.again)} in {file.source}"
        raise InputError(what, where="--from", hint=nearest_hint(request.again, names))
    runs = open_ledger(state).runs()
    earlier = None
    if request.resume is not None:
        earlier = find(runs, request.resume, file.name)
        _refuse_changed(request, earlier)
    for other in records(runs):
        if other.name == file.name and other.open_runs and other != earlier:
            its = other.pipeline_id
            what = f"pipeline {file.name} is at work, run {other.open_runs[0].run_id}"
            hint = f"--resume {its} goes on with it, `mlbroker stop {its}` ends it"
            raise InputError(what, hint=hint)
    share = None if earlier is None or request.new_cap else earlier.share
    if share is None:
        if limits.budget_usd is None:
            hint = "Give --budget USD, or write `budget: 25 USD` in the header's broker block."
            what = "the pipeline has no budget, and without a cap nothing is launched"
            raise RefusedError(what, hint=hint)
        pipeline_id = new_pipeline_id(now) if earlier is None else earlier.pipeline_id
        share = Share(PIPELINE, file.name, pipeline_id, token_hex(8), limits.budget_usd)
    if earlier is not None and not request.new_deadline:
        return Whole(share, earlier.deadline_at, earlier)
    left_s = None if limits.deadline is None else limits.deadline.seconds_from(now)
    return Whole(share, None if left_s is None else now + timedelta(seconds=left_s), earlier)


def _refuse_changed(request: PipelineRequest, earlier: Record) -> None:
    """What is done, or under way, was of stages as they stood in the file then."""
    now = {
        each.job.name: (n, definition_of(each.job)) for n, each in enumerate(request.file.stages)
    }
    for name, run in earlier.latest().items():
        if run.settled and not succeeded(run):
            continue  # it is run again, as it stands now
        fact = StageFact.of(run)
        hint = "Without --resume what is unchanged is skipped, and the rest runs."
        if name not in now:
            what = f"has no stage {name} any more, which {earlier.pipeline_id} has run"
            raise InputError(what, where=request.file.source, hint=hint)
        number, definition = now[name]
        if fact is not None and fact.definition != definition and not request.force:
            what = f"was changed since pipeline {earlier.pipeline_id} ran it"
            raise InputError(what, where=request.file.stage_line(number), hint=hint)


class Conductor:
    """Begins stages of one execution as they become ready, and keeps what became of them.

    `done`, `at_work` (run ids) and `failed` are by the names of stages; `trouble` is what kept a
    stage from beginning: no other begins after it.
    """

    def __init__(
        self, request: PipelineRequest, whole: Whole, state: Path, listener: Listener
    ) -> None:
        self.request, self.whole = request, whole
        self.done: dict[str, Done] = {}
        self.at_work: dict[str, str] = {}
        self.failed: dict[str, Run] = {}
        self.trouble: MlbrokerError | None = None
        self.stopping = False
        self._home, self._listener = state, listener
        self._file = request.file
        self._ledger = open_ledger(state)
        self._planner = RestPlanner(request, state, listener)
        again = request.again
        anew = set(self.names) if request.force else self._after([again] if again else [])
        self._again = anew | (whole.earlier.again & set(self.names) if whole.earlier else set())
        self._earlier: dict[str, Run] = {}
        self._waits: set[str] = set()
        self._digests: dict[str, str] = {}  # of one look at the files
        for name, run in (whole.earlier.latest() if whole.earlier else {}).items():
            if not run.settled:
                self.at_work[name] = run.run_id
            elif name in anew or name not in self.names:
                continue
            elif succeeded(run) and (name not in self._again or _is_again(run, name)):
                self.done[name] = Done(run.run_id, skipped=False)
            elif name not in self._again or _is_again(run, name):
                self._earlier[name] = run
        self._skip_unchanged()

    @property
    def names(self) -> list[str]:
        """Of all stages."""
        return [each.job.name for each in self._file.stages]

    def needs(self, name: str) -> list[str]:
        """The stages it waits for."""
        return [self.names[before] for before in self._file.needs[self.names.index(name)]]

    def plan(self) -> dict[str, StagePlan]:
        """What is still to begin, planned with what is left of money and time."""
        numbers = [self.names.index(name) for name in self._to_begin()]
        at, now = self.whole.deadline_at, datetime.now(UTC)
        left_s = None if at is None else (at - now).total_seconds()
        found = self._planner.plan(numbers, self.left_usd(), left_s) if numbers else {}
        return {self.names[n]: each for n, each in found.items()}

    def left_usd(self) -> Decimal:
        """What no stage has spent, or may yet come to cost."""
        return self.whole.share.left_usd(self._ledger.runs())

    def runs(self) -> dict[str, Run]:
        """The run of each stage that has one."""
        ids = {name: each.run_id for name, each in self.done.items()} | self.at_work
        ids |= {name: run.run_id for name, run in self.failed.items()}
        return {name: run for name, each in ids.items() if (run := self._ledger.run(each))}

    def heed(self) -> list[Run]:
        """Take in what was settled since the last look: these runs."""
        settled = []
        for name, run_id in list(self.at_work.items()):
            run = self._ledger.run(run_id)
            if run is None or not run.settled:
                continue
            del self.at_work[name]
            settled.append(run)
            if succeeded(run):
                self.done[name] = Done(run_id, skipped=False)
            else:
                self.failed[name] = run
        return settled

    def begin_ready(self, secrets: Mapping[str, dict[str, str]]) -> None:
        """Begin what is ready, has room on this machine, and can be paid."""
        self._digests.clear()
        self._skip_unchanged()
        ready = self._with_room(self._ready())
        if not ready or self.stopping or self.trouble:
            return
        try:
            plans = self.plan()
            needs = {name: each.need for name, each in plans.items()}
            paid = shares(self.left_usd(), needs, ready, at_work=bool(self.at_work))
            for name in ready:
                if name not in paid:
                    self._say_waits(name)
                else:
                    self._begin(name, plans[name], paid[name], secrets[name])
        except MlbrokerError as error:
            self.trouble = error

    def stop(self, by: str) -> None:
        """Ask what is at work to end; nothing begins after it."""
        self.stopping = True
        for run_id in self.at_work.values():
            self._ledger.ask_to_stop(datetime.now(UTC), run_id, by)

    def _to_begin(self) -> list[str]:
        """What has not begun, and waits for nothing that failed."""
        begun = {*self.done, *self.at_work, *self._after(self.failed)}
        return [name for name in self.names if name not in begun]

    def _ready(self) -> list[str]:
        return [
            name
            for name in self._to_begin()
            if all(before in self.done for before in self.needs(name))
        ]

    def _after(self, first: Iterable[str]) -> set[str]:
        """These stages, and all that depend on them."""
        found = set(first)
        while more := {n for n in self.names if n not in found and found & set(self.needs(n))}:
            found |= more
        return found

    def _skip_unchanged(self) -> None:
        """Stages that an earlier pipeline did as they are now, with the inputs they would get."""
        runs, looked = self._ledger.runs(), set(self._waits | self._again)
        while ready := [name for name in self._ready() if name not in looked]:
            looked |= set(ready)
            for name in ready:
                digest = self._digest(name)
                same = same_before(runs, self._file.name, name, digest, self._home)
                if same is not None:
                    self._listener.note(f"{name}: unchanged since run {same.run_id}, skipped.")
                    self.done[name] = Done(same.run_id, skipped=True)

    def _digest(self, name: str) -> str:
        """As it would run now; files are read once a look, as they may be large."""
        if (known := self._digests.get(name)) is not None:
            return known
        number = self.names.index(name)
        job = self.request.job(number)
        folder = None if job.workdir is None else Path(job.workdir)
        if folder is None and self.request.place(number) == LOCAL:
            folder = self.request.path.absolute().parent
        outputs = outputs_of(self._home, self._inputs(name))
        self._digests[name] = digest = digest_of(job, folder, self._file, outputs)
        return digest

    def _inputs(self, name: str) -> dict[str, str]:
        """The runs whose outputs it is given; InputError where these are not here."""
        found = {before: self.done[before].run_id for before in self.needs(name)}
        for before, run_id in found.items():
            if not RunFolder.of(self._home, run_id).path.is_dir():
                hint = f"Resume where it ran, or run it again with --from {before}."
                what = f"what {before} handed on is not in this state folder"
                raise InputError(what, where=f"run {run_id}", hint=hint)
        return found

    def _with_room(self, ready: Iterable[str]) -> list[str]:
        """Those that this machine has as many cores for as they ask; of nodes the queue says it."""
        most = float(len(os.sched_getaffinity(0)))
        cores = {
            name: min(self.request.job(number).cores or most, most)
            for number, name in enumerate(self.names)
            if self.request.place(number) == LOCAL
        }
        free, found = most - sum(cores.get(name, 0.0) for name in self.at_work), []
        for name in ready:
            if cores.get(name, 0.0) <= free:
                free -= cores.get(name, 0.0)
                found.append(name)
        return found

    def _say_waits(self, name: str) -> None:
        if name not in self._waits:
            self._waits.add(name)
            self._listener.note(
                f"{name} waits: nobody knows how long it takes, so it begins when no other stage "
                "is at work, with all that those after it leave."
            )

    def _begin(
        self, name: str, plan: StagePlan, paid_usd: Decimal, secrets: dict[str, str]
    ) -> None:
        request = self._request_of(name, plan, paid_usd)
        try:
            prepared = prepare(request, self._home, self._listener)
        except NothingFeasible as error:
            if plan.due_s is None:
                raise
            self._listener.warn(f"{name}: may be too late for the whole: {error.what}")
            anew = replace(request, job=replace(request.job, deadline=None))
            prepared = prepare(anew, self._home, self._listener)
        with reserve(prepared, secrets, self._home, self._listener) as run:
            self.at_work[name] = run.run_id
            self._earlier.pop(name, None)
            self._listener.note(
                f"{name}: run {run.run_id} begins, up to {exact_usd(prepared.worst.usd)} USD."
            )
            carry_in_background(self._home, run.run_id, secrets)

    def _request_of(self, name: str, plan: StagePlan, paid_usd: Decimal) -> RunRequest:
        """The stage as a run: its share is its cap, its latest finish its deadline."""
        asked, number = self.request, self.names.index(name)
        whole, inputs = self.whole, self._inputs(name)
        outputs, on = outputs_of(self._home, inputs), asked.place(number)
        due = None if plan.due_s is None else Deadline(duration_s=max(plan.due_s, 0.0))
        job = replace(
            asked.job(number), budget_usd=paid_usd, deadline=due,
            confidence=asked.limits.confidence, objective=asked.limits.objective,
        )  # fmt: skip
        given, travels = INPUTS, beside(outputs)
        chosen = plan.own or plan.quote
        if chosen is not None and chosen.cloud == LOCAL:
            own = inputs_folder(self._home, whole.share) / name
            given, travels = str(lay_out(own.absolute(), outputs)), {}
        at = None if whole.deadline_at is None else whole.deadline_at.isoformat()
        definition, again = definition_of(asked.job(number)), sorted(self._again)
        fact = StageFact(definition, self._digest(name), inputs, at, again)
        return RunRequest(
            job=job,
            job_path=asked.path,
            on=on,
            local_price_usd=None if plan.own is None else price_told(plan.own),
            filters=plan.where,
            sources=asked.sources,
            project=asked.project,
            resumes=self._checkpointed(name),
            new_cap=True,
            on_overrun=asked.on_overrun,
            stop_when_idle_s=asked.stop_when_idle_s,
            share=whole.share._replace(part=name),
            beside=travels,
            inputs=given,
            stage=fact,
        )

    def _checkpointed(self, name: str) -> str | None:
        """The run of this stage that left a checkpoint to go on from, where it is as it was."""
        earlier = self._earlier.get(name)
        fact = None if earlier is None else StageFact.of(earlier)
        if earlier is None or fact is None or fact.digest != self._digest(name):
            return None
        left = RunFolder.of(self._home, earlier.run_id).checkpoint.exists()
        return earlier.run_id if left else None


def _is_again(run: Run, name: str) -> bool:
    """Whether the run was begun because its stage was to run again."""
    fact = StageFact.of(run)
    return fact is not None and name in fact.again


def refuse_stages_not_run(request: PipelineRequest, listener: Listener) -> None:
    """InputError with the line of a stage of which a part would be missing when it runs."""
    for reason in request.file.header.not_run:
        raise InputError(reason, where=request.file.line(reason.partition(":")[0]))
    for number, stage in enumerate(request.file.stages):
        try:
            refuse_what_is_not_run(stage.job, listener, here=request.place(number) == LOCAL)
        except InputError as error:
            where = request.file.stage_line(number)
            raise InputError(error.what, where=where, hint=error.hint) from None
