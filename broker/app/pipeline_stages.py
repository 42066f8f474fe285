"""A pipeline's stages as the planner is asked for them, with this call's flags and files."""

from collections.abc import Mapping
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
from mlbroker.broker.files.job_file import PipelineFile
from mlbroker.broker.files.job_flags import override
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.judge import judge_of
from mlbroker.broker.plan_words import MEASURE_OR_SAY, way_out
from mlbroker.policies.candidates import Filters
from mlbroker.policies.pipeline.planning import NoChoice, StageQuery, stage_job
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.profiles.job import Job


class PipelineQuery(NamedTuple):
    """Which pipeline, among what; `limits` has the header's limits, or the flags in their place.

    `to_run`: each stage is a run, with a machine of its own, and what it hands on comes home first.
    `own` has the quotes of stages that are not planned, by their names. `asked` are the limits as
    they were given, where `limits` are what is left of them.
    """

    file: PipelineFile
    path: Path
    limits: Job
    filters: Filters = Filters()
    sources: Sources = Sources()
    explain: bool = False
    to_run: bool = False
    own: Mapping[str, Quote] = {}
    asked: Job | None = None


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
    asked = query.asked or query.limits
    given = asked.deadline if key == "deadline" else asked.budget_usd
    return query.file.line(f"broker.{key}") if own == given else f"--{key}"


class _OfStage:
    """Tells of which stage something is said."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name, self._listener = name, listener

    def note(self, text: str) -> None:
        self._listener.note(f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        self._listener.warn(f"{self._name}: {text}")


class Stages:
    """The stages as the planner is asked for them, and what to say where it has no answer."""

    def __init__(
        self, query: PipelineQuery, state: Path, listener: Listener, book: Book, now: datetime
    ) -> None:
        self._query, self._state, self._listener = query, state, listener
        self._book, self._now = book, now
        self._judge = judge_of(query.path, query.sources.policy, reason=query.sources.reason)
        self._followed = {before for needs in query.file.needs for before in needs}

    def queries(self) -> list[StageQuery]:
        """One for each stage; what is odd about a stage is said."""
        return [self._query_of(number) for number in range(len(self._query.file.stages))]

    def _query_of(self, number: int) -> StageQuery:
        query, file = self._query, self._query.file
        whole = file.stages[number].job
        followed = number in self._followed and not query.to_run
        job = stage_job(whole, query.limits, followed=followed)
        told = _OfStage(job.name, self._listener)
        book = within_reach(self._book, self._state, job)
        self._refuse_unknown(number, book)
        warn_of_unknown(job, book, told)
        evidence = evidence_of(job, self._state, query.sources.measure, told)
        request = PlanRequest(evidence.job, evidence, query.filters, judge=self._judge)
        sends_gb = Decimal(0) if query.to_run else whole.data.output_gb
        own = query.own.get(job.name)
        return StageQuery(Planner(book, self._now), request, file.needs[number], sends_gb, own)

    def no_choice(self, found: NoChoice) -> MlbrokerError:
        """Exit 4 with what would have to change; exit 2 where nobody knows how long it takes."""
        number, plan = found.number, found.plan
        where = self._query.file.stage_line(number)
        name = self._query.file.stages[number].job.name
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
        file = self._query.file
        job, lines = file.stages[number].job, file.stages[number].lines
        name = job.name
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
