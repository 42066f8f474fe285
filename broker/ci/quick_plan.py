"""The same choices as `plan`, for thousands of jobs: only types that can be chosen are planned on.

What a job costs on a type at least is known without planning: the cheapest price anywhere, times
the expected time undisturbed. Types are planned on in the order of that bound, a few at a time,
until those left out cannot be among the best.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.ci.kept_book import Entry, KeptBook, SomeTypes
from mlbroker.broker.plan import Plan, make_ask, make_plan, screen
from mlbroker.broker.planning import NANO_PER_USD
from mlbroker.policies.ask import Ask, setup_s
from mlbroker.policies.fit import Filters
from mlbroker.policies.guardrails import Machine, Policy, Who, machine_hit
from mlbroker.policies.outcome import normal_quantile
from mlbroker.policies.place import least_by_cloud, places
from mlbroker.policies.quote import Quote
from mlbroker.policies.veto import Veto
from mlbroker.pricing.book import Requirements
from mlbroker.pricing.gpu_names import NOT_CUDA
from mlbroker.pricing.offer import Market
from mlbroker.profiles.estimators import predict
from mlbroker.profiles.job import Job, ObjectiveKind, ResourceOption, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence, Target

TOP = 10
_FIRST = 40
_GROWTH = 4
_NEAREST = 24


class _Runner(NamedTuple):
    """A type in one market: its cheapest price anywhere, and how long a run on it takes.

    A run of n steps takes `fixed_s` and n times `mean_step_s` on average, `median_step_s` in the
    median, with the spread `sigma_log`.
    """

    entry: Entry
    cloud: str
    market: Market
    usd_per_hour: float
    fixed_s: float
    mean_step_s: float
    median_step_s: float
    sigma_log: float


# Nodes, whether a GPU is used, whether the work is stated, which history.
_Kind = tuple[int, bool, bool, int]
_Wishes = tuple[_Kind, tuple[object, ...], int]


class _Rank(NamedTuple):
    """A runner in the rank by cost: a run of n steps costs at least `base` + n times `slope`."""

    base: float
    slope: float
    usd_per_s: float
    fixed_usd: float
    sure_step_s: float
    runner: _Runner

    def may_do(self, ask: Ask, veto: Veto | None) -> bool:
        """Whether a run may be in time, within budget, and within what the policy lets it cost."""
        if self.too_slow_s(ask) is not None or self.too_dear_usd(ask) is not None:
            return False
        if veto is None or veto.policy.max_spend_per_run is None:
            return True
        usd = Decimal(f"{self.base + self.slope * ask.steps:.6f}")
        spend = Policy(veto.policy.source, max_spend_per_run=veto.policy.max_spend_per_run)
        machine = Machine("", "", "", "", Decimal(0), cost_usd=usd)
        return machine_hit(spend, machine, veto.who) is None

    def too_slow_s(self, ask: Ask) -> float | None:
        """The time a run is sure to take, when that is beyond the deadline."""
        sure_s = self.runner.fixed_s + self.sure_step_s * ask.steps
        return sure_s if ask.deadline_s is not None and sure_s > ask.deadline_s else None

    def too_dear_usd(self, ask: Ask) -> float | None:
        """What a run surely costs at least, when that is beyond the budget."""
        sure_s = self.runner.fixed_s + self.sure_step_s * ask.steps
        usd = self.usd_per_s * sure_s + self.fixed_usd
        return usd if ask.budget_usd is not None and usd > ask.budget_usd else None


class Choice(NamedTuple):
    """The quote of the best machine; where there is none, the plan that tells why."""

    quote: Quote | None
    deadline_s: float | None
    plan: Plan | None = None


class QuickPlanner:
    """Plans jobs against one book at one moment."""

    def __init__(self, book: KeptBook, now: datetime) -> None:
        self._book = book
        self._now = now
        self._fields: dict[_Kind, list[_Runner]] = {}
        self._admitted: dict[_Wishes, list[_Runner]] = {}
        self._ranked: dict[tuple[object, ...], list[_Rank]] = {}
        self._held: dict[int, object] = {}

    def choose(self, job: Job, evidence: Evidence, veto: Veto | None = None) -> Choice:
        """What `make_plan` chooses; where that is nothing, a plan that tells why."""
        if not self._can_bound(job, evidence, veto):
            return self._whole(job, evidence, veto)
        ask = make_ask(job, evidence, self._book.regions(), self._now)
        policy = None if veto is None else veto.policy
        ranks = self._ranks(job, ask, evidence, policy)
        steps = ask.steps
        heap = [(rank[0] + rank[1] * steps, number) for number, rank in enumerate(ranks)]
        heapq.heapify(heap)
        taken: dict[int, Entry] = {}
        batch = _FIRST
        while heap:
            while heap and len(taken) < batch:
                rank = ranks[heapq.heappop(heap)[1]]
                if rank.may_do(ask, veto):
                    taken[rank.runner.entry[0]] = rank.runner.entry
            some = SomeTypes(self._book, list(taken.values()))
            screened = screen(job, some, evidence, self._now, Filters(), top=TOP, veto=veto)
            picks = screened.selection.picks
            # Complete when nothing left out can be cheaper than the last of those found.
            if not heap or (len(picks) == TOP and heap[0][0] > picks[-1].key[0]):
                quote = screened.best_quote(job, some)
                if quote is not None:
                    return Choice(quote, ask.deadline_s)
            batch *= _GROWTH
        nearest = _nearest(ranks, ask)
        if not nearest and veto is None:
            return self._whole(job, evidence, veto)
        some = SomeTypes(self._book, nearest)
        plan = make_plan(job, some, evidence, self._now, Filters(), top=TOP, veto=veto)
        return Choice(plan.choice, ask.deadline_s, plan)

    def _whole(self, job: Job, evidence: Evidence, veto: Veto | None) -> Choice:
        plan = make_plan(job, self._book, evidence, self._now, Filters(), top=TOP, veto=veto)
        return Choice(plan.choice, plan.ask.deadline_s, plan)

    @staticmethod
    def _can_bound(job: Job, evidence: Evidence, veto: Veto | None) -> bool:
        """Measurements make each job's field its own, and so do types that must be asked for;
        whether a GPU is needed is a question about all machines."""
        return (
            not evidence.measurements
            and not (veto is not None and veto.policy.gpu_needs_reason)
            and job.objective.kind is ObjectiveKind.COST
            and all(
                option.instance_type is None and option.requirements.gpu_model not in NOT_CUDA
                for option in job.resources
            )
        )

    def _ranks(self, job: Job, ask: Ask, evidence: Evidence, policy: Policy | None) -> list[_Rank]:
        """What the bounds of this job's runners are made of: the same for all jobs like it."""
        wishes = self._wishes(job, ask, evidence, policy)
        disks = frozenset(option.disk_gb for option in job.resources)
        key = (wishes, disks, job.data, ask.confidence)
        if key not in self._ranked:
            table = places(ask, self._book.regions(), job.resources)
            add_ons = least_by_cloud([place for row in table for place in row])
            quantile, scale = normal_quantile(ask.confidence), ask.nodes / 3600
            ranks = self._ranked[key] = []
            for runner in self._runners(wishes, job, evidence, policy):
                add_on = add_ons[runner.cloud]
                fixed_usd = add_on.fixed_usd
                usd_per_s = (runner.usd_per_hour + add_on.usd_per_hour) * scale
                sure_step_s = runner.median_step_s * math.exp(quantile * runner.sigma_log)
                base = usd_per_s * runner.fixed_s + fixed_usd
                slope = usd_per_s * runner.mean_step_s
                ranks.append(_Rank(base, slope, usd_per_s, fixed_usd, sure_step_s, runner))
        return self._ranked[key]

    def _wishes(self, job: Job, ask: Ask, evidence: Evidence, policy: Policy | None) -> _Wishes:
        """What decides which runners there are for a job, and how fast they are."""
        # Compared by identity, and held so that no other object can take over an identity.
        self._held[id(evidence.history)] = evidence.history
        self._held[id(policy)] = policy
        options = tuple((o.requirements, o.cloud, o.market) for o in job.resources)
        kind = (job.num_nodes, ask.uses_gpu, job.work is not None, id(evidence.history))
        return kind, options, id(policy)

    def _runners(
        self, wishes: _Wishes, job: Job, evidence: Evidence, policy: Policy | None
    ) -> list[_Runner]:
        """Runners that meet the plain needs of the job; planning may still refuse some."""
        if wishes not in self._admitted:
            kind = wishes[0]
            if kind not in self._fields:
                self._fields[kind] = self._field(kind, evidence.history)
            found = _admitted(self._fields[kind], job.resources)
            if policy is not None:
                plain = _without_places(policy)
                found = [runner for runner in found if _allows(plain, runner, job.num_nodes)]
            self._admitted[wishes] = found
        return self._admitted[wishes]

    def _field(self, kind: _Kind, history: Sequence[Measurement]) -> list[_Runner]:
        """Every type in every market, as it is for any job of this kind that was not measured."""
        nodes, uses_gpu, has_work, _ = kind
        # Whatever GPU a job asks for, it is then a job that uses one.
        asked = Requirements(gpu_model="T4") if uses_gpu else Requirements()
        job = Job(
            name="any",
            command="any",
            num_nodes=nodes,
            resources=(ResourceOption(asked),),
            work=Work(1) if has_work else None,
        )
        groups: dict[tuple[int, str], list[Entry]] = {}
        for entry in self._book.types():
            groups.setdefault((entry[1], entry[2].cloud), []).append(entry)
        targets = [
            Target(cloud, group[0][2].name, group[0][2].hardware, nodes)
            for (_, cloud), group in groups.items()
        ]
        predictions = predict(Evidence(job, (), history), targets)
        cheapest = self._cheapest()
        runners: list[_Runner] = []
        for (_, cloud), group, prediction in zip(groups, groups.values(), predictions, strict=True):
            if prediction is None:
                continue
            fixed_s = setup_s(cloud) + prediction.overhead_s
            median_s, sigma = prediction.median_step_time_s, prediction.sigma_log
            mean_s = median_s * math.exp(sigma**2 / 2)
            runners += [
                _Runner(entry, cloud, market, usd_per_hour, fixed_s, mean_s, median_s, sigma)
                for entry in group
                if not entry[2].retired
                for market, usd_per_hour in cheapest.get(entry[0], ())
            ]
        return runners

    def _cheapest(self) -> dict[int, list[tuple[Market, float]]]:
        """The lowest price per hour of each type, in each market that has one."""
        found: dict[int, list[tuple[Market, float]]] = {}
        for row in self._book.price_rows(depth=1):
            market = Market.SPOT if row[1] else Market.ON_DEMAND
            found.setdefault(row[0], []).append((market, row[3] / NANO_PER_USD))
        return found


def _nearest(ranks: Sequence[_Rank], ask: Ask) -> list[Entry]:
    """The types that tell what would have to change where nothing is feasible."""
    slow: list[tuple[float, int]] = []
    dear: list[tuple[float, int]] = []
    for number, rank in enumerate(ranks):
        if (seconds := rank.too_slow_s(ask)) is not None:
            slow.append((seconds, number))
        elif (usd := rank.too_dear_usd(ask)) is not None:
            dear.append((usd, number))
    closest = heapq.nsmallest(_NEAREST, slow) + heapq.nsmallest(_NEAREST, dear)
    entries = {ranks[number].runner.entry[0]: ranks[number].runner.entry for _, number in closest}
    return list(entries.values())


def _without_places(policy: Policy) -> Policy:
    """What a policy says of machines wherever they stand."""
    allow, deny = policy.allow, policy.deny
    return Policy(
        policy.source,
        max_price_per_hour_usd=policy.max_price_per_hour_usd,
        allow=None if allow is None else replace(allow, regions=()),
        deny=None if deny is None else replace(deny, regions=()),
    )


def _allows(policy: Policy, runner: _Runner, nodes: int) -> bool:
    price = Decimal(f"{runner.usd_per_hour * nodes:.6f}")
    machine = Machine(runner.cloud, "", runner.entry[2].name, str(runner.market), price)
    return machine_hit(policy, machine, Who("")) is None


def _admitted(runners: Sequence[_Runner], options: Sequence[ResourceOption]) -> list[_Runner]:
    verdicts: dict[tuple[int, str, Market], bool] = {}
    found = []
    for runner in runners:
        _, hardware_id, kind = runner.entry
        key = (hardware_id, kind.cloud, runner.market)
        if key not in verdicts:
            gpu = kind.hardware.gpu
            verdicts[key] = (gpu is None or gpu.model not in NOT_CUDA) and any(
                option.cloud in (None, kind.cloud)
                and option.market in (None, runner.market)
                and option.requirements.unmet(kind.hardware) is None
                for option in options
            )
        if verdicts[key]:
            found.append(runner)
    return found
