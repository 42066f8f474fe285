"""A plan for a pipeline: each stage's quotes from the planner, and the choice for all together."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.sources import (
    Sources,
    book_of,
    check_filters,
    evidence_of,
    refuse_unknown_type,
    warn_of_unknown,
    with_nodes,
    within_reach,
)
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.pipeline_file import PipelineFile
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.judge import judge_of
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.plan_words import MEASURE_OR_SAY, deadline_has_passed, way_out
from mlbroker.broker.words import duration, money
from mlbroker.policies.candidates import Filters
from mlbroker.policies.pipeline.explain import Choices, choices
from mlbroker.policies.pipeline.interface import Problem, Selection, Solution, Stage
from mlbroker.policies.pipeline.schedule import Timetable, timetable
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import Job, ObjectiveKind

SECONDS = 20.0
# Regions that stages which send each other something are tried in, beside each type's best.
_MOST_HUBS = 6
_BEST_OF_STAGE = 3


class PipelineQuery(NamedTuple):
    """Which pipeline, among what; `limits` has the header's limits, or the flags in their place."""

    file: PipelineFile
    path: Path
    limits: Job
    filters: Filters = Filters()
    sources: Sources = Sources()
    explain: bool = False


class PlannedStage(NamedTuple):
    """A stage of the plan: its job, its quotes, and of the choice what it adds to the whole.

    `cost_usd` is the quote's, less what going on with the machine of `reuses` saves, and with
    `transfer_usd`, what the outputs that it needs cost on their way.
    """

    job: Job
    needs: tuple[str, ...]
    quotes: Sequence[Quote]
    choice: Quote | None = None
    cost_usd: Decimal | None = None
    transfer_usd: Decimal = Decimal(0)
    reuses: str | None = None
    start_s: float = 0.0
    end_s: float = 0.0
    slack_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannedPipeline:
    """The plan. Without a selection, `failure` tells why and what would do.

    `choices` are there when they were asked for.
    """

    query: PipelineQuery
    generated_at: datetime
    snapshot: Snapshot
    deadline_s: float | None
    problem: Problem
    solution: Solution
    stages: Sequence[PlannedStage]
    table: Timetable | None = None
    choices: Sequence[Choices] = ()
    failure: MlbrokerError | None = None

    @property
    def selection(self) -> Selection | None:
        """The choice for all stages."""
        return self.solution.selection

    @property
    def cost_usd(self) -> Decimal | None:
        """What the whole is expected to cost."""
        costs = [stage.cost_usd for stage in self.stages if stage.cost_usd is not None]
        return sum(costs, Decimal(0)) if len(costs) == len(self.stages) else None

    @property
    def carbon_kgco2e(self) -> float | None:
        """What the whole emits; unknown where any stage's is."""
        found = [stage.choice.carbon_kgco2e for stage in self.stages if stage.choice is not None]
        known = [kg for kg in found if kg is not None]
        return sum(known) if len(known) == len(self.stages) else None


def limits_of(file: PipelineFile, **flags: str | None) -> Job:
    """The limits of the whole, as a job has them, with the flags of this call in their place."""
    header = file.header
    whole = Job(
        name=file.name, command="", deadline=header.deadline, confidence=header.confidence,
        budget_usd=header.budget_usd, objective=header.objective,
        runs_per_month=header.runs_per_month,
    )  # fmt: skip
    return override(whole, **flags)


@contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """HiGHS 1.12 prints a line of its own there now and then, also when it is told to be quiet."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


class _OfStage:
    """Tells of which stage something is said."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name, self._listener = name, listener

    def note(self, text: str) -> None:
        self._listener.note(f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        self._listener.warn(f"{self._name}: {text}")


def plan_pipeline(query: PipelineQuery, state: Path, listener: Listener) -> PlannedPipeline:
    """Make the plan. One without a selection is a value too, with its `failure`.

    Raises NothingFeasible where no machine does a stage, InputError where nobody knows how long
    one takes.
    """
    load_numpy()
    from mlbroker.policies.pipeline.solve import solve

    now, limits = datetime.now(UTC), query.limits
    deadline_s = None if limits.deadline is None else limits.deadline.seconds_from(now)
    if deadline_s is not None and deadline_s <= 0:
        raise deadline_has_passed(_place_of(query, "deadline"))
    book = with_nodes(book_of(state, query.sources.prices, listener), state, query.sources.nodes)
    check_filters(query.filters, book)
    stages = _Stages(query, state, listener, book, now)
    quotes = stages.quotes()
    problem = _problem(query, stages.jobs, quotes, book, deadline_s)
    with _nothing_on_stdout():
        solution = solve(problem, SECONDS, time.monotonic)
    made = PlannedPipeline(
        query, now, book.snapshot, deadline_s, problem, solution,
        [
            PlannedStage(job, stages.names(number), quotes[number])
            for number, job in enumerate(stages.jobs)
        ],
    )  # fmt: skip
    if solution.selection is None:
        return replace(made, failure=_nothing_feasible(made))
    return _filled(made, solution.selection)


class _Stages:
    """The stages as jobs to plan, and their quotes."""

    def __init__(
        self, query: PipelineQuery, state: Path, listener: Listener, book: Book, now: datetime
    ) -> None:
        self._query, self._state, self._listener = query, state, listener
        self._book, self._now = book, now
        file = query.file
        self._followed = {before for needs in file.needs for before in needs}
        self.jobs = [self._job(number) for number in range(len(file.stages))]
        from mlbroker.policies.pipeline.candidates import WorthAQuote

        self._worth: list[WorthAQuote] = []
        for needs in file.needs:
            before = needs[0] if len(needs) == 1 and needs[0] < len(self._worth) else None
            self._worth.append(WorthAQuote(None if before is None else self._worth[before]))

    def names(self, number: int) -> tuple[str, ...]:
        """The stages that one waits for."""
        file = self._query.file
        return tuple(file.stages[before].job.name for before in file.needs[number])

    def quotes(self) -> list[list[Quote]]:
        """For each stage all that may be in the best selection, each machine once."""
        found = [self._plan(number, self._query.filters) for number in range(len(self.jobs))]
        hubs = self._hubs(found)
        for number, job in enumerate(self.jobs):
            if not self._near(number):
                continue
            from mlbroker.policies.pipeline.candidates import machine_of

            seen = {machine_of(quote, job) for quote in found[number]}
            for region in hubs:
                here = self._query.filters._replace(regions=(region,))
                for quote in self._plan(number, here, must=False):
                    if machine_of(quote, job) not in seen:
                        seen.add(machine_of(quote, job))
                        found[number].append(quote)
        return found

    def _job(self, number: int) -> Job:
        """A stage without the limits of the whole; outputs that others take stay where they are."""
        job, limits = self._query.file.stages[number].job, self._query.limits
        data = job.data._replace(output_gb=Decimal(0)) if number in self._followed else job.data
        return replace(
            job, deadline=None, budget_usd=None, confidence=limits.confidence,
            objective=limits.objective, data=data,
        )  # fmt: skip

    def _near(self, number: int) -> bool:
        """Whether it matters how near other stages are: something is sent from it, or to it."""
        file = self._query.file
        sends = file.stages[number].job.data.output_gb and number in self._followed
        return bool(sends) or any(
            file.stages[before].job.data.output_gb for before in file.needs[number]
        )

    def _hubs(self, found: Sequence[Sequence[Quote]]) -> list[str]:
        """Regions of the best machines of stages that send each other something."""
        if self._query.filters.regions:
            return []
        hubs: dict[str, None] = {}
        near = [number for number in range(len(found)) if self._near(number)]
        for rank in range(_BEST_OF_STAGE):
            for number in near:
                if rank < len(found[number]):
                    hubs[found[number][rank].region] = None
        return list(hubs)[:_MOST_HUBS]

    def _plan(self, number: int, filters: Filters, *, must: bool = True) -> list[Quote]:
        query, job = self._query, self.jobs[number]
        told = _OfStage(job.name, self._listener if must else _Silent())
        book = within_reach(self._book, self._state, job)
        self._refuse_unknown(number, book)
        if must:
            warn_of_unknown(job, book, told)
        evidence = evidence_of(job, self._state, query.sources.measure, told)
        judge = judge_of(query.path, query.sources.policy, reason=query.sources.reason)
        plan = Planner(book, self._now).plan(
            PlanRequest(
                evidence.job, evidence, filters, judge=judge, top=0, keep=self._worth[number]
            )
        )
        quotes = [quote for quote in plan.quotes if quote.course is not None]
        if must and not quotes:
            raise self._no_candidate(number, plan)
        return quotes

    def _no_candidate(self, number: int, plan: Plan) -> MlbrokerError:
        where, name = self._query.file.stage_line(number), self.jobs[number].name
        if plan.quotes:
            return InputError(
                "nobody knows how long this stage takes",
                where=where,
                hint=MEASURE_OR_SAY.replace(
                    "profile JOB", f"profile {self._query.path} --stage {name}"
                ),
            )
        return NothingFeasible(
            "no machine meets this stage's needs and the policy", where=where, hint=way_out(plan)
        )

    def _refuse_unknown(self, number: int, book: Book) -> None:
        """A type or a cloud in the file that the book does not know."""
        file, job = self._query.file, self.jobs[number]
        lines, name = file.stages[number].lines, job.name
        try:
            refuse_unknown_type(job.takes, book)
        except InputError as error:
            where = f"{file.source}:{lines.get('broker.work.on', 1)}: {name}: broker.work.on"
            raise InputError(error.what, where=where, hint=error.hint) from None
        known = {region.cloud for region in book.regions().values()}
        if job.data.at is not None and job.data.at.cloud not in known:
            where = f"{file.source}:{lines.get('broker.data.at', 1)}: {name}: broker.data.at"
            hint = nearest_hint(job.data.at.cloud, sorted(known))
            raise InputError(f"there is no cloud {job.data.at.cloud!r}", where=where, hint=hint)


class _Silent:
    """Hears what was said before."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


def _problem(
    query: PipelineQuery,
    jobs: Sequence[Job],
    quotes: Sequence[Sequence[Quote]],
    book: Book,
    deadline_s: float | None,
) -> Problem:
    from mlbroker.policies.pipeline.candidates import links_between, option_of

    limits, file = query.limits, query.file
    options = [
        [option_of(quote, job, limits.objective) for quote in found]
        for job, found in zip(jobs, quotes, strict=True)
    ]
    kind = limits.objective.kind
    stages = [
        Stage(job.name, needs, found, float(file.stages[number].job.data.output_gb))
        for number, (job, needs, found) in enumerate(zip(jobs, file.needs, options, strict=True))
    ]
    places = {option.place for found in options for option in found}
    sends = any(stage.sends_gb for stage in stages)
    return Problem(
        stages,
        links_between(places, book.regions().values()) if sends else {},
        deadline_s,
        limits.confidence,
        None if limits.budget_usd is None else float(limits.budget_usd),
        by_time=kind is ObjectiveKind.TIME,
        traffic_weight=0.0 if kind is ObjectiveKind.CARBON else 1.0,
    )


def _filled(made: PlannedPipeline, selection: Selection) -> PlannedPipeline:
    """The plan with the stages' choices, times and costs."""
    from mlbroker.policies.pipeline.candidates import setup_cost_usd

    problem = made.problem
    chosen = [s.options[pick] for s, pick in zip(problem.stages, selection.picks, strict=True)]
    table = timetable(problem, chosen)
    stages = []
    for number, stage in enumerate(made.stages):
        quote = stage.quotes[selection.picks[number]]
        assert quote.cost_usd is not None
        needs = problem.stages[number].needs
        sent = [problem.link(b, chosen[b].place, chosen[number].place)[0] for b in needs]
        transfer = Decimal(str(round(sum(sent), 6)))
        again = selection.reuses[number]
        saved = setup_cost_usd(quote) if again else Decimal(0)
        stages.append(
            stage._replace(
                choice=quote,
                cost_usd=quote.cost_usd.expected - saved + transfer,
                transfer_usd=transfer,
                reuses=made.stages[needs[0]].job.name if again else None,
                start_s=table.starts_s[number],
                end_s=table.ends_s[number],
                slack_s=table.slack_s[number],
            )
        )
    explained = choices(problem, selection) if made.query.explain else ()
    return replace(made, stages=stages, table=table, choices=explained)


def _nothing_feasible(made: PlannedPipeline) -> NothingFeasible:
    """Exit 4: the stages that time is short for, and what would do."""
    solution, query = made.solution, made.query
    limits, ways = query.limits, []
    if solution.least_deadline_s is not None:
        ways.append(f"a deadline of {duration(solution.least_deadline_s, least=True)} would do")
    if solution.least_budget_usd is not None:
        usd = Decimal(str(solution.least_budget_usd))
        ways.append(f"a budget of {money(usd, least=True)} USD would do")
    what, key = "no choice of machines keeps the pipeline's limits", "budget"
    if made.deadline_s is not None:
        key = "deadline"
        what = f"no choice of machines is over within {duration(made.deadline_s)}"
        what += f" with {limits.confidence * 100:.4g}%"
        what += "" if limits.budget_usd is None else f" and {limits.budget_usd} USD"
        if solution.fastest is not None:
            problem, picks = made.problem, solution.fastest.picks
            chosen = [s.options[p] for s, p in zip(problem.stages, picks, strict=True)]
            path = timetable(problem, chosen).critical
            names = " → ".join(problem.stages[number].name for number in path)
            what += f"; the longest path of the fastest choice is {names}"
    elif limits.budget_usd is not None:
        what = f"no choice of machines costs at most {limits.budget_usd} USD"
        what += f" with {limits.confidence * 100:.4g}%"
    return NothingFeasible(what, where=_place_of(query, key), hint="; or ".join(ways) or None)


def _place_of(query: PipelineQuery, key: str) -> str:
    """Where a limit stands: in the header, or among the options."""
    own = getattr(query.file.header, {"deadline": "deadline", "budget": "budget_usd"}[key])
    given = query.limits.deadline if key == "deadline" else query.limits.budget_usd
    return query.file.line(f"broker.{key}") if own == given else f"--{key}"
