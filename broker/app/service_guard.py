"""The guard of a running service: from job file and options to one that can look."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from socket import gethostname
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import PlanQuery, plan
from mlbroker.broker.app.service_terms import most_of, rps_of, service_of, too_little
from mlbroker.broker.engines import open_switch
from mlbroker.broker.engines.interface import Switch
from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.capacities import capacities_of, nearest_capacity
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.guest.processes import boot_clock
from mlbroker.broker.judge import judge_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.plan_words import nothing_chosen
from mlbroker.broker.runs.admission import PolicyAdmission
from mlbroker.broker.runs.launch import current_project, current_user
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.services.books import Account, Books
from mlbroker.broker.services.guard import Guard, Moment, Rules
from mlbroker.broker.services.journal import Journal
from mlbroker.broker.words import exact_usd
from mlbroker.policies.service.interface import (
    UNITS_PER_USD,
    Period,
    Terms,
    nano_usd,
    usd,
)
from mlbroker.policies.service.periods import DAY_MS, spans_of, utc_day, utc_month
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import Meter
from mlbroker.profiles.job import Job, Replicas
from mlbroker.profiles.service import Service

MONTH, DAY = "month", "day"
_LONGEST_MONTH = Period(0, 31 * DAY_MS)
USUAL_LEASE_S = 300.0
# A lease is so many times what the engine may be late, at least; and looks are a fifth of it apart.
_LEASE_SLACKS = 4
_LOOKS = 5
_PRICE = "--price-per-hour-usd"


@dataclass(frozen=True, slots=True)
class GuardRequest:
    """What the command line asks for; None: the job file, the plan, or what is usual. With
    `month_s` a month is so long, to try the cap in minutes."""

    job: Path
    engine: str
    price_usd_per_h: Decimal | None = None
    capacity_rps: float | None = None
    lease_s: float | None = None
    month_s: float | None = None
    policy: Path | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A guard that has not begun: nothing is locked, reserved or told yet."""

    journal: Journal
    rules: Rules
    switch: Switch
    books: Books
    setup: dict[str, Any]

    @property
    def every_s(self) -> float:
        """From one look to the next."""
        return self.rules.lease_s / _LOOKS

    @contextmanager
    def guarding(self, listener: Listener) -> Iterator[Guard]:
        """Be the one guard of the service. RefusedError where another is."""
        with self.journal.guarding():
            self.journal.keep_setup(self.setup)
            yield Guard(self.rules, self.switch, self.journal, self.books, now_here, listener.warn)


def prepare(request: GuardRequest, state: Path, listener: Listener) -> Prepared:
    """InputError for what is not said, NothingFeasible for a budget that the fewest replicas break,
    and with the lock RefusedError."""
    job = load_job(request.job, needs_folder=False).job
    service, replicas = service_of(job, request.job, "a guard holds one's cap")
    switch = open_switch(request.engine)
    price, instance_type = _price(request, job, state, listener)
    slack_s = switch.slack_s + switch.minimum_s
    lease_s = request.lease_s or max(USUAL_LEASE_S, _LEASE_SLACKS * slack_s)
    if lease_s < _LEASE_SLACKS * slack_s:
        raise InputError(
            f"{lease_s:g} s is too short: this engine may be {slack_s:g} s late",
            where="--lease", hint=f"{_LEASE_SLACKS * slack_s:g}s at least",
        )  # fmt: skip
    name = re.sub(r"[^A-Za-z0-9._-]", "_", job.name)
    journal = Journal(state, name)
    # Months of one's own length go on where the last guard's do.
    before = journal.setup() or {}
    same = request.month_s is not None and before.get("month_s") == request.month_s
    month_from_ms = before["month_from_ms"] if same else now_here().wall_ms
    known = nearest_capacity(
        capacities_of(job, MeasurementStore(state).for_job(job)), instance_type
    )
    rules = Rules(
        _terms(request, service, replicas, price, lease_s, slack_s, month_from_ms),
        rps_of(service, request.capacity_rps, None if known is None else known.low_rps),
        lease_s,
    )
    account = Account(
        name, current_user(), current_project(request.job, request.project), switch.cloud,
        switch.region, instance_type, price, request.engine, f"{gethostname()}:{state}",
    )  # fmt: skip
    judge = judge_of(request.job, request.policy, project=account.project, user=account.user)
    option = LaunchOption(
        switch.cloud, switch.region, instance_type, Market.ON_DEMAND.value, Bill(price, 1, Meter())
    )
    books = Books(
        open_ledger(state), account, lambda worst: PolicyAdmission(judge, [option], name, worst)
    )
    setup = {
        "job": str(request.job.absolute()),
        "engine": request.engine,
        "price_per_hour_usd": exact_usd(price),
        "capacity_rps": rules.capacity_rps,
        "lease_s": lease_s,
        "month_s": request.month_s,
        "month_from_ms": month_from_ms,
        "policy": None if request.policy is None else str(request.policy.absolute()),
        "project": request.project,
        "budgets": {key: exact_usd(usd(each.cap)) for key, each in rules.terms.items()},
    }
    return Prepared(journal, rules, switch, books, setup)


def request_of(setup: dict[str, Any]) -> GuardRequest:
    """What a guard was started with, from what it kept."""
    policy = setup["policy"]
    return GuardRequest(
        Path(setup["job"]), setup["engine"], Decimal(setup["price_per_hour_usd"]),
        setup["capacity_rps"], setup["lease_s"], setup["month_s"],
        None if policy is None else Path(policy), setup["project"],
    )  # fmt: skip


def now_here() -> Moment:
    """By this machine's clocks."""
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Moment(round(time.time() * 1000), round(boot_clock() * 1000), boot)


def _price(request: GuardRequest, job: Job, state: Path, listener: Listener) -> tuple[Decimal, str]:
    """Of a replica's hour, and of which machine."""
    told = request.price_usd_per_h
    if told is not None:
        if told <= 0:
            raise InputError("is not above zero: what is free needs no cap", where=_PRICE)
        pinned = next((each.instance_type for each in job.resources if each.instance_type), None)
        return told, pinned or "replica"
    if not any(each.instance_type for each in job.resources):
        raise InputError(
            "what an hour of a replica costs is not said", where=_PRICE,
            hint="or pin the machine: resources: {instance_type: g6.xlarge}",
        )  # fmt: skip
    made = plan(PlanQuery(job, request.job, top=1), state, listener).plan
    if made.choice is None:
        raise nothing_chosen(made)
    return made.choice.hourly_usd, made.choice.instance_type


def _terms(
    request: GuardRequest,
    service: Service,
    replicas: Replicas,
    price: Decimal,
    lease_s: float,
    slack_s: float,
    month_from_ms: int,
) -> dict[str, Terms]:
    """Of each budget: the ledger's first."""
    most = most_of(service, replicas)
    lease_ms, slack_ms = round((lease_s + slack_s) * 1000), round(slack_s * 1000)
    budgets: list[tuple[str, Decimal | None, Callable[[int], Period], Period]] = [
        (MONTH, service.month_usd, utc_month, _LONGEST_MONTH)
    ]
    if request.month_s is not None:
        length_ms = round(request.month_s * 1000)
        if service.day_usd is not None:
            raise InputError("has no effect where the budget has a day", where="--month-length")
        if length_ms < 2 * lease_ms:
            raise InputError("is shorter than two leases", where="--month-length")
        span = Period(0, length_ms)
        budgets = [(MONTH, service.month_usd, spans_of(length_ms, month_from_ms), span)]
    budgets.append((DAY, service.day_usd, utc_day, Period(0, DAY_MS)))
    found = {}
    for name, budget_usd, period_of, longest in budgets:
        if budget_usd is None:
            continue
        cap = int(budget_usd * UNITS_PER_USD)
        terms = Terms(nano_usd(price), cap, period_of, replicas.least, most, lease_ms, slack_ms)
        needs = terms.least_cap(longest)
        if needs > cap:
            raise too_little(replicas.least, needs, cap, request.job, f"a {name} all the time")
        found[name] = terms
    if not found:
        raise InputError(
            "says no budget to hold", where=str(request.job),
            hint="broker: {service: {budget: {month: 500 USD}}}",
        )  # fmt: skip
    return found
