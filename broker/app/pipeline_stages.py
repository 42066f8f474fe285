"""A pipeline's stages as jobs to plan: each with its quotes from the planner, none left out that
may be in the best choice for all.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.sources import (
    Sources,
    evidence_of,
    refuse_unknown_type,
    warn_of_unknown,
    within_reach,
)
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.pipeline_file import PipelineFile
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.judge import judge_of
from mlbroker.broker.plan_words import MEASURE_OR_SAY, way_out
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.profiles.job import Job

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


def limits_of(file: PipelineFile, **flags: Any) -> Job:
    """The limits of the whole, as a job has them, with the flags of this call in their place."""
    header = file.header
    whole = Job(
        name=file.name, command="", deadline=header.deadline, confidence=header.confidence,
        budget_usd=header.budget_usd, objective=header.objective,
        runs_per_month=header.runs_per_month,
    )  # fmt: skip
    return override(whole, **flags)


def place_of_limit(query: PipelineQuery, key: str) -> str:
    """Where a limit (deadline or budget) stands: in the header, or among the options."""
    own = getattr(query.file.header, {"deadline": "deadline", "budget": "budget_usd"}[key])
    given = query.limits.deadline if key == "deadline" else query.limits.budget_usd
    return query.file.line(f"broker.{key}") if own == given else f"--{key}"


class _OfStage:
    """Tells of which stage something is said."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name, self._listener = name, listener

    def note(self, text: str) -> None:
        self._listener.note(f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        self._listener.warn(f"{self._name}: {text}")


class _Silent:
    """Hears what was said before."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


class Stages:
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
