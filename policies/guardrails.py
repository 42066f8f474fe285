"""What the user's policy file forbids: caps on money and carbon, places, machines, approvals.

Everything here is a function of values, so that plan, launch and check give the same answer.
A rule that needs a figure nobody knows refuses: unknown is not zero.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase

from mlbroker.pricing.billing import MICRO_USD


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap in USD: on everybody together, on each user or project, or on named ones."""

    total: Decimal | None = None
    per_user: Decimal | None = None
    per_project: Decimal | None = None
    users: Mapping[str, Decimal] = field(default_factory=dict)
    projects: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """Patterns (`*` and `?`) of machines. An empty tuple matches every value."""

    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file, read. `source` is its path, for messages; None asks for nothing."""

    source: str
    max_spend_per_run: Limit | None = None
    max_spend_per_day: Limit | None = None
    max_spend_per_month: Limit | None = None
    max_price_per_hour_usd: Decimal | None = None
    max_carbon_per_run_kg: float | None = None
    approve_above_usd: Decimal | None = None
    approvers: tuple[str, ...] = ()
    gpu_needs_reason: bool = False
    allow: Match | None = None
    deny: Match | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a rule may look at: all nodes' price, and what the run is expected to come to."""

    cloud: str
    region: str
    instance_type: str
    market: str
    price_per_hour_usd: Decimal
    gpu: bool | None = None
    cost_usd: Decimal | None = None
    carbon_kg: float | None = None


@dataclass(frozen=True, slots=True)
class Who:
    """Whose money it is."""

    user: str
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """Money spent by a run, or held by one that is open."""

    who: Who
    at: datetime
    open: bool
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that forbids: its key in the file, and why."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's recorded yes to one run of a job above the amount that needs one."""

    id: str
    job: str
    user: str
    up_to_usd: Decimal
    by: str
    expires_at: datetime


def machine_hit(policy: Policy, machine: Machine, who: Who) -> Hit | None:
    """The first rule that forbids this machine for this run, or None."""
    if policy.deny is not None:
        named = _matching(policy.deny, machine)
        if named is not None:
            return Hit("deny", f"{named} is denied")
    if policy.allow is not None:
        outside = _outside(policy.allow, machine)
        if outside is not None:
            return Hit("allow", f"{outside} is not among those allowed")
    limit = policy.max_price_per_hour_usd
    if limit is not None and machine.price_per_hour_usd > limit:
        why = f"{machine.price_per_hour_usd} USD an hour is above {limit}"
        return Hit("max_price_per_hour", why)
    carbon = policy.max_carbon_per_run_kg
    if carbon is not None:
        if machine.carbon_kg is None:
            return Hit("max_carbon_per_run", "what it emits is not known")
        if machine.carbon_kg > carbon:
            return Hit(
                "max_carbon_per_run", f"{machine.carbon_kg:.3g} kg CO2e is above {carbon:g} kg"
            )
    if machine.cost_usd is not None and policy.max_spend_per_run is not None:
        for name, cap in _caps(policy.max_spend_per_run, who):
            if machine.cost_usd > cap:
                why = f"{_plain(machine.cost_usd)} USD is above the {cap} USD {name}"
                return Hit("max_spend_per_run", why)
    return None


def gpu_hits(policy: Policy, machines: Sequence[Machine], reason: str | None) -> Mapping[int, Hit]:
    """By index, GPU machines that would need a reason, because a feasible CPU one is there."""
    if not policy.gpu_needs_reason or reason:
        return {}
    plain = [m for m in machines if m.gpu is False]
    if not plain:
        return {}
    best = min(plain, key=lambda m: m.cost_usd if m.cost_usd is not None else Decimal("Infinity"))
    cost = "" if best.cost_usd is None else f" for {_plain(best.cost_usd)} USD"
    why = f"{best.instance_type} meets the deadline without a GPU{cost}; state a reason to use one"
    return {i: Hit("gpu_needs_reason", why) for i, m in enumerate(machines) if m.gpu}


def spend_hit(
    policy: Policy, committed: Iterable[Committed], now: datetime, who: Who, usd: Decimal
) -> Hit | None:
    """The first cap that a reservation of `usd` would break. Open reservations count as spent."""
    if policy.max_spend_per_run is not None:
        for name, cap in _caps(policy.max_spend_per_run, who):
            if usd > cap:
                return Hit("max_spend_per_run", f"{_plain(usd)} USD are above the {cap} USD {name}")
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    held = list(committed)
    for rule, limit, since in (
        ("max_spend_per_day", policy.max_spend_per_day, day),
        ("max_spend_per_month", policy.max_spend_per_month, day.replace(day=1)),
    ):
        if limit is None:
            continue
        counted = [c for c in held if c.open or c.at >= since]
        for name, cap in _caps(limit, who):
            spent = sum((c.usd for c in counted if _concerns(name, c.who, who)), Decimal(0))
            if spent + usd > cap:
                why = f"{_plain(usd)} USD on top of {_plain(spent)} USD spent or reserved"
                return Hit(rule, f"{why} pass the {cap} USD {name}")
    return None


def approval_for(
    policy: Policy, approvals: Iterable[Approval], now: datetime, job: str, who: Who, usd: Decimal
) -> Approval | Hit | None:
    """None when none is needed; else the approval that admits the run, or the hit that it lacks."""
    if policy.approve_above_usd is None or usd <= policy.approve_above_usd:
        return None
    for approval in approvals:
        if (
            approval.job == job
            and approval.user == who.user
            and approval.up_to_usd >= usd
            and approval.expires_at > now
            and (not policy.approvers or approval.by in policy.approvers)
        ):
            return approval
    by = f" by {' or '.join(policy.approvers)}" if policy.approvers else ""
    return Hit(
        "approve_above",
        f"{_plain(usd)} USD are above {policy.approve_above_usd} USD and need an approval{by}",
    )


def _plain(usd: Decimal) -> str:
    """To the micro-dollar, without superfluous zeros: near a cap every digit may matter."""
    return f"{usd.quantize(MICRO_USD).normalize():f}"


def family(instance_type: str) -> str:
    """The family of a type: m5 of m5.large, n1 of n1-standard-4, D of Standard_D4s_v5."""
    azure = re.match(r"(?:Standard|Basic)_([A-Za-z]+)", instance_type)
    return azure[1] if azure else re.split(r"[.\-_]", instance_type)[0]


def _caps(limit: Limit, who: Who) -> list[tuple[str, Decimal]]:
    """The caps that concern these spenders, with what to call each."""
    caps: list[tuple[str, Decimal]] = []
    if limit.total is not None:
        caps.append(("in total", limit.total))
    user_cap = limit.users.get(who.user, limit.per_user)
    if user_cap is not None:
        caps.append((f"of user {who.user}", user_cap))
    project = who.project
    project_cap = (
        limit.per_project if project is None else limit.projects.get(project, limit.per_project)
    )
    if project_cap is not None:
        caps.append((f"of project {project or '(none)'}", project_cap))
    return caps


def _concerns(name: str, spender: Who, who: Who) -> bool:
    if name.startswith("of user"):
        return spender.user == who.user
    if name.startswith("of project"):
        return spender.project == who.project
    return True


def _aspects(match: Match, machine: Machine) -> list[tuple[str, tuple[str, ...], str]]:
    return [
        ("cloud", match.clouds, machine.cloud),
        ("region", match.regions, machine.region),
        ("family", match.families, family(machine.instance_type)),
        ("instance type", match.instance_types, machine.instance_type),
        ("market", match.markets, machine.market),
    ]


def _matching(deny: Match, machine: Machine) -> str | None:
    """What of the machine is on the list: any one suffices to be denied."""
    for aspect, patterns, value in _aspects(deny, machine):
        if any(fnmatchcase(value, pattern) for pattern in patterns):
            return f"{aspect} {value}"
    return None


def _outside(allow: Match, machine: Machine) -> str | None:
    """What of the machine is on no list: every list that is there must hold it."""
    for aspect, patterns, value in _aspects(allow, machine):
        if patterns and not any(fnmatchcase(value, pattern) for pattern in patterns):
            return f"{aspect} {value}"
    return None
