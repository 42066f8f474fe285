"""What is left of a pipeline, planned: where each stage goes, what it needs, and by when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.own_quote import own_quote, refuse_several
from mlbroker.broker.app.pipeline import PlannedPipeline, nothing_feasible, plan_pipeline
from mlbroker.broker.app.pipeline_stages import PipelineQuery, place_of_limit
from mlbroker.broker.app.sources import Sources, evidence_of
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import NothingFeasible
from mlbroker.broker.files.job_file import PipelineFile
from mlbroker.broker.plan_words import deadline_has_passed
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.runs.launch import least_usd
from mlbroker.broker.runs.launch_options import own_machine
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.zones import launchable_in, why_not_in
from mlbroker.broker.words import exact_usd
from mlbroker.policies.candidates import Filters
from mlbroker.policies.pipeline.shares import Need
from mlbroker.policies.quote import Quote
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Deadline, Job


@dataclass(frozen=True, slots=True)
class PipelineRequest:
    """What to run, where it may, and what of it again.

    `on` is where stages run that name no cloud of their own; None: all are planned. `resume` is
    the pipeline to go on with, with a `new_cap` or with what it left. Stage `again` and all that
    depend on it run though they are unchanged; with `force` all do.
    """

    file: PipelineFile
    path: Path
    limits: Job
    on: str | None = None
    local_price_usd: Decimal | None = None
    filters: Filters = Filters()
    sources: Sources = Sources()
    project: str | None = None
    resume: str | None = None
    new_cap: bool = False
    new_deadline: bool = False
    again: str | None = None
    force: bool = False
    on_overrun: str | None = None
    stop_when_idle_s: float | None = None
    dry_run: bool = False

    def job(self, number: int) -> Job:
        """A stage's."""
        return self.file.stages[number].job

    def place(self, number: int) -> str | None:
        """The machine that a stage was told to run on; None where it is planned."""
        named = any(option.cloud is not None for option in self.job(number).resources)
        return None if named else self.on


class StagePlan(NamedTuple):
    """Where a stage goes (`own`: the user's machine; else `where`), what it needs, and in how many
    seconds it has to be over at the latest. `quote`: None where nobody knows how long it takes.
    """

    need: Need
    due_s: float | None
    quote: Quote | None
    own: LaunchOption | None = None
    where: Filters = Filters()


class Once:
    """Tells everything once, as the rest is planned again and again."""

    def __init__(self, listener: Listener) -> None:
        self._listener, self._said = listener, set[str]()

    def note(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._listener.note(text)

    def warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._listener.warn(text)


class RestPlanner:
    """Plans what is left of one pipeline, again after each stage."""

    def __init__(self, request: PipelineRequest, state: Path, listener: Listener) -> None:
        self._request, self._home, self._listener = request, state, Once(listener)
        self._opened = opener(state)
        self._machines: dict[int, LaunchOption] = {}
        self._filters = request.filters
        self._before: dict[int, StagePlan] = {}

    def plan(
        self, numbers: Sequence[int], left_usd: Decimal, deadline_s: float | None
    ) -> dict[int, StagePlan]:
        """The stages that have not begun.

        NothingFeasible where nothing keeps the limits; later on that is said, and the plan before
        stands: the cap holds, the deadline may not.
        """
        try:
            found = self._plan(numbers, left_usd, deadline_s)
        except NothingFeasible as error:
            if not self._before:
                raise
            self._listener.warn(f"what is left no longer keeps the limits: {error.what}")
            found = {n: self._before[n]._replace(due_s=deadline_s) for n in numbers}
        self._before = {**self._before, **found}
        return found

    def _plan(
        self, numbers: Sequence[int], left_usd: Decimal, deadline_s: float | None
    ) -> dict[int, StagePlan]:
        found = {n: self._own(n) for n in numbers if self._request.place(n) is not None}
        unknown = {n: each for n, each in found.items() if each.quote is None}
        held_usd = sum((each.need.usd for each in unknown.values()), Decimal(0))
        self._refuse_too_little(found, left_usd)
        if deadline_s is not None and deadline_s <= 0:
            raise deadline_has_passed(place_of_limit(self._query(self._request.file), "deadline"))
        known = [n for n in numbers if n not in unknown]
        if known:
            quotes = {self._request.job(n).name: q for n, s in found.items() if (q := s.quote)}
            rest = self._query(_part(self._request.file, known))._replace(
                own=quotes,
                asked=self._request.limits,
                limits=replace(
                    self._request.limits,
                    budget_usd=left_usd - held_usd,
                    deadline=None if deadline_s is None else Deadline(duration_s=deadline_s),
                ),
            )
            made = self._made(rest)
            for place, number in enumerate(known):
                found[number] = self._chosen(made, place, deadline_s, found.get(number))
        return {n: s._replace(due_s=deadline_s) if n in unknown else s for n, s in found.items()}

    def _query(self, file: PipelineFile) -> PipelineQuery:
        request = self._request
        return PipelineQuery(
            file, request.path, request.limits, self._filters, request.sources, to_run=True
        )

    def _made(self, query: PipelineQuery) -> PlannedPipeline:
        """The plan; made again where its choice cannot be launched."""
        made = plan_pipeline(query, self._home, self._listener)
        if made.plan.solution.selection is None:
            raise nothing_feasible(made)
        chosen = [stage.quote for stage in made.plan.chosen]
        rented = [quote for quote, name in zip(chosen, made.names, strict=True)
                  if name not in query.own]  # fmt: skip
        closed = [q for q in rented if why_not_in(self._opened(q.cloud), q.cloud, q.region)]
        if not closed or self._filters != self._request.filters:
            return made
        kinds = [kind for _, _, kind in open_book(self._home, query.sources.prices).types()]
        self._filters = launchable_in(query.filters, kinds, self._opened, self._listener.note)
        self._listener.note(f"Planned for where it can be: {', '.join(self._filters.regions)}.")
        return self._made(query._replace(filters=self._filters))

    def _own(self, number: int) -> StagePlan:
        """On the machine that it was told to run on; without what the others leave it."""
        request, job = self._request, self._request.job(number)
        name = request.place(number)
        assert name is not None
        if number not in self._machines:
            refuse_several(job, request.path)
            self._machines[number] = own_machine(
                name, request.local_price_usd, request.sources.nodes, self._home,
                self._listener.note, job.resources,
            )  # fmt: skip
        option = self._machines[number]
        limited = replace(job, confidence=request.limits.confidence)
        evidence = evidence_of(limited, self._home, request.sources.measure, self._listener)
        nodes = request.sources.nodes
        _, quote = own_quote(option, evidence, self._home, nodes, datetime.now(UTC))
        least = least_usd(option, self._opened(option.cloud).traits)
        if quote.course is None or quote.duration_h is None:
            return StagePlan(Need(least, known=False), None, None, option)
        slack_s = self._opened(option.cloud).traits.kill_slack_s
        planned_s = Decimal(str(quote.duration_h.p90 * 3600 + slack_s))
        need = Need(max(least, option.dearest.charge_usd(planned_s)), known=True)
        return StagePlan(need, None, quote, option)

    def _chosen(
        self, made: PlannedPipeline, place: int, deadline_s: float | None, own: StagePlan | None
    ) -> StagePlan:
        stage, table = made.plan.chosen[place], made.plan.table
        assert table is not None
        due_s = None
        if deadline_s is not None:
            due_s = stage.end_s + stage.slack_s + deadline_s - max(table.ends_s)
        if own is not None:
            return own._replace(due_s=due_s)
        quote = stage.quote
        assert quote.cost_usd is not None
        slack_s = Decimal(str(self._opened(quote.cloud).traits.kill_slack_s))
        need = Need(quote.cost_usd.p90 + quote.hourly_usd * slack_s / 3600, known=True)
        where = Filters((quote.cloud,), (quote.region,), (quote.market,), (quote.instance_type,))
        return StagePlan(need, due_s, quote, None, where)

    def _refuse_too_little(self, own: dict[int, StagePlan], left_usd: Decimal) -> None:
        """The shortest runs there already cost more."""
        least_usd = sum((each.need.usd for each in own.values()), Decimal(0))
        if any(each.need.known for each in own.values()) or least_usd <= left_usd:
            return
        raise NothingFeasible(
            f"{exact_usd(left_usd)} USD pay for no {len(own)} stages, however short",
            where=place_of_limit(self._query(self._request.file), "budget"),
            hint=f"At least {exact_usd(least_usd)} USD would do for the shortest.",
        )


def _part(file: PipelineFile, numbers: Sequence[int]) -> PipelineFile:
    """Some of the stages; who needed one of the others waits for what that one waits for."""
    places = {number: place for place, number in enumerate(numbers)}

    def needs(number: int) -> set[int]:
        found: set[int] = set()
        for before in file.needs[number]:
            found |= {places[before]} if before in places else needs(before)
        return found

    return replace(
        file,
        stages=tuple(file.stages[n] for n in numbers),
        needs=tuple(tuple(sorted(needs(n))) for n in numbers),
    )


def price_told(option: LaunchOption) -> Decimal | None:
    """The price of this machine, for runs after it is reckoned; None where a node has its own."""
    plain = (option.cloud, option.instance_type) == (LOCAL, LOCAL)
    return option.price_per_hour_usd if plain else None
