"""The same choices as `plan`, for thousands of jobs: only types that can be chosen are planned on.

What a job costs on a type at least is known without planning: the cheapest price anywhere, times
the expected time undisturbed. Types are planned on in the order of that bound, a few at a time,
until those left out cannot be the best.
"""

import heapq
import math
from collections.abc import Sequence
from datetime import datetime
from itertools import chain, count
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mlbroker.policies.candidates import Filters, fitting
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.pace import HOUR_S
from mlbroker.policies.planner.book import Book, with_hint
from mlbroker.policies.planner.bounds import Bounds, Home, Offered, Runner, may_be_allowed
from mlbroker.policies.planner.cached_book import CachedBook, SomeTypes
from mlbroker.policies.planner.decision import Decision, decide
from mlbroker.policies.planner.plan import TOP, Choice, PlanRequest
from mlbroker.policies.quote import Quote
from mlbroker.policies.region_costs import RegionCosts, least_by_cloud, region_costs
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.price_units import NANO_PER_USD
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.estimators import guess_key, predict
from mlbroker.profiles.job import Job, ObjectiveKind
from mlbroker.profiles.prediction import Evidence, Target

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

# The best is nearly always the first or second by its bound: so few are looked for at first.
_FEW = 2
FIRST = 10
_GROWTH = 4
# The jobs of a repository share a few kinds of wishes; so many are remembered.
_KEPT = 100

K = TypeVar("K")
V = TypeVar("V")
_ByType = dict[int, list[Runner]]
_ByCloud = dict[str, list[Runner]]


class _AddOns(NamedTuple):
    """What regions add to a machine's price: each, by resource option, and a cloud's at least."""

    places: Sequence[Sequence[RegionCosts | None]]
    least: dict[str, RegionCosts]
    home: Home | None


class ManyPlanner:
    """Chooses for one job after the other; what they have in common is worked out once.

    `first` is how many types are planned on at first.
    """

    def __init__(self, book: Book, now: datetime, first: int = FIRST) -> None:
        self._book = CachedBook(book)
        self._first = first
        self._now = now
        self._fields: dict[tuple[object, ...], _ByType] = {}
        self._admitted: dict[tuple[object, ...], _ByCloud] = {}
        self._add_ons: dict[tuple[object, ...], _AddOns] = {}
        self._prices_at: dict[int, dict[Offered, float]] = {}
        self._held: dict[int, object] = {}

    def choose(self, request: PlanRequest) -> Choice:
        """What a plan of its own chooses; where that is nothing, a plan that tells why."""
        job, judge = request.job, request.judge
        request = request._replace(evidence=with_hint(self._book, request.evidence))
        constraints = Constraints.of(job, request.evidence, self._book.regions(), self._now)
        if constraints.deadline_has_passed or not _can_bound(request):
            return self._whole(request)
        add_ons = self._what_regions_add(job, constraints)
        by_cloud = self._runners(request, constraints)
        limits = constraints.unjudged() if request.evidence.hint is None else constraints
        bounds = Bounds(limits, judge, add_ons.least, add_ons.home)
        costs = chain.from_iterable(bounds.costs_usd(*group) for group in by_cloud.items())
        runners = list(chain.from_iterable(by_cloud.values()))
        heap = list(zip(costs, count()))
        heapq.heapify(heap)
        taken: dict[int, TypeEntry] = {}
        batch = self._first
        while heap:
            while heap and len(taken) < batch:
                usd, number = heapq.heappop(heap)
                runner = runners[number]
                if bounds.may_do(runner, usd):
                    taken[runner.entry.id] = runner.entry
            some = SomeTypes(self._book, list(taken.values()))
            quote, reach = self._best(request, constraints, some, add_ons)
            # Complete when nothing left out can be better than what was found.
            if quote is not None and (not heap or heap[0][0] > reach):
                return Choice(quote, constraints.deadline_s)
            batch *= _GROWTH
        return self._whole(request)

    def _best(
        self, request: PlanRequest, constraints: Constraints, some: SomeTypes, add_ons: _AddOns
    ) -> tuple[Quote | None, float]:
        """The best machine of some, and the cost up to which others might be better."""
        for top in (_FEW, TOP):
            decision = Decision(some, request._replace(top=top), constraints, add_ons.places)
            quote, reach = decision.best_quote()
            picks = decision.selection.picks
            if len(picks) < top or picks[-1].key[0] > reach:
                break
        return quote, reach

    def _whole(self, request: PlanRequest) -> Choice:
        plan = decide(self._book, self._now, request._replace(top=TOP))
        left_s = None if plan.constraints.deadline_has_passed else plan.constraints.deadline_s
        return Choice(plan.choice, left_s, plan)

    def _what_regions_add(self, job: Job, constraints: Constraints) -> _AddOns:
        disks = tuple(option.disk_gb for option in job.resources)
        key = (disks, job.data, constraints.nodes)
        found = self._add_ons.get(key)
        if found is None:
            table = region_costs(constraints, self._book.regions(), job.resources)
            least = least_by_cloud([place for row in table for place in row])
            found = _AddOns(table, least, self._home(constraints.data_region, table))
            _keep(self._add_ons, key, found)
        return found

    def _home(
        self, home: Region | None, table: Sequence[Sequence[RegionCosts | None]]
    ) -> Home | None:
        number = next((n for n, region in self._book.regions().items() if region == home), None)
        if number is None:
            return None
        cloud = self._book.regions()[number].cloud
        here = least_by_cloud([options[number] for options in table])
        there = least_by_cloud([p for row in table for n, p in enumerate(row) if n != number])
        if cloud not in there:
            return None
        if number not in self._prices_at:
            self._prices_at[number] = {
                row.offered: row.nano_usd_per_hour / NANO_PER_USD
                for row in self._book.price_rows(None, [number])
            }
        return Home(cloud, here[cloud], self._prices_at[number], there[cloud])

    def _runners(self, request: PlanRequest, constraints: Constraints) -> _ByCloud:
        """Runners that meet the plain needs of the job; planning may still refuse some."""
        job, evidence, judge = request.job, request.evidence, request.judge
        # Compared by identity, and held so that no other object can take over an identity.
        for shared in (evidence.history, evidence.fitted, judge and judge.policy):
            self._held[id(shared)] = shared
        guesses = (guess_key(job), constraints.nodes, id(evidence.history), id(evidence.fitted))
        wishes = tuple(
            (o.requirements, o.usual, o.cloud, o.instance_type, o.market) for o in job.resources
        )
        rules = None if judge is None else (id(judge.policy), judge.who, judge.reason)
        key = (guesses, wishes, rules)
        found = self._admitted.get(key)
        if found is None:
            field = self._fields.get(guesses)
            if field is None:
                field = self._field(evidence, constraints.nodes)
                _keep(self._fields, guesses, field)
            found = _admitted(field, job, self._book.types(), judge)
            _keep(self._admitted, key, found)
        return found

    def _field(self, evidence: Evidence, nodes: int) -> _ByType:
        """Every type in every market, as it is for any job with these guesses."""
        groups: dict[tuple[int, str], list[TypeEntry]] = {}
        for entry in self._book.types():
            groups.setdefault((entry.hardware_id, entry.type.cloud), []).append(entry)
        targets = [
            Target(cloud, group[0].type.name, group[0].type.hardware, nodes)
            for (_, cloud), group in groups.items()
        ]
        predictions = predict(evidence, targets)
        cheapest = {
            row.offered: row.nano_usd_per_hour / NANO_PER_USD
            for row in self._book.price_rows(depth=1)
        }
        field: _ByType = {}
        for (_, cloud), group, prediction in zip(groups, groups.values(), predictions, strict=True):
            if prediction is None and evidence.hint is not None:
                continue
            # Of what nobody knows, an hour is compared.
            fixed_s, median_s, sigma = HOUR_S, 0.0, 0.0
            if prediction is not None:
                fixed_s = vendor(cloud).setup_s + prediction.overhead_s
                median_s, sigma = prediction.median_step_time_s, prediction.sigma_log
            mean_s = median_s * math.exp(sigma**2 / 2)
            for entry in group:
                field[entry.id] = [
                    Runner(cheapest[offer], fixed_s, mean_s, median_s, sigma, offer, entry)
                    for offer in ((entry.id, 0), (entry.id, 1))
                    if offer in cheapest
                ]
        return field


def _can_bound(request: PlanRequest) -> bool:
    """Measurements make each job's field its own; flags are of one job; a rule
    that compares is a question about all machines; and what is best by another objective, cost
    does not tell."""
    return (
        not request.evidence.measurements
        and request.evidence.batches is None
        and request.filters == Filters()
        and not (request.judge is not None and request.judge.compares)
        and request.job.objective.kind is ObjectiveKind.COST
    )


def _admitted(
    field: _ByType, job: Job, types: Sequence[TypeEntry], judge: "Judge | None"
) -> _ByCloud:
    """The runners that meet what the job asks of a type and its market, and what a policy does."""
    fits, _ = fitting(job, types, (), Filters())
    admitted: _ByCloud = {}
    for fit in fits:
        markets = {job.resources[index].market for index in fit.options}
        for runner in field.get(fit.id, ()):
            if None not in markets and runner.market not in markets:
                continue
            if may_be_allowed(judge, runner, job.num_nodes, None):
                admitted.setdefault(fit.type.cloud, []).append(runner)
    return admitted


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Remember a few; where every job is another, all of them would fill the memory."""
    if len(kept) >= _KEPT:
        kept.clear()
    kept[key] = value
