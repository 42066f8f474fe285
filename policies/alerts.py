"""When the owner of a budget wants to hear of it: caps nearly used, forecasts above them, idle
runs, kill switches that did not work.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from mlbroker.policies.guardrails.alert_terms import AlertTerms
from mlbroker.policies.guardrails.interface import Rule, Who
from mlbroker.policies.guardrails.max_spend_per_period import MaxSpendPerPeriod
from mlbroker.policies.spend_forecast import Spread

# A machine that is up so long after its kill time has outlived every kill switch there is.
KILL_LATE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class CapState:
    """How a cap of the policy stands: `rule` is its key, `of` whose money it caps.

    `forecast` is what the month comes to, of a monthly one; None where nobody can tell.
    """

    rule: str
    of: str
    whole_month: bool
    cap_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    forecast: Spread | None = None

    @property
    def left_usd(self) -> Decimal:
        """What may still be reserved."""
        return self.cap_usd - self.spent_usd - self.reserved_usd

    @property
    def used(self) -> Decimal:
        """The share of it that is spent or held."""
        held = self.spent_usd + self.reserved_usd
        return held / self.cap_usd if self.cap_usd else Decimal(1)


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run as alerts look at it. `idle_s` is None where its machine tells nothing."""

    run_id: str
    job: str
    kill_at: datetime | None
    idle_s: float | None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to hear of. `key` is the same as long as it is the same matter."""

    kind: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose money a cap of a rule concerns, `since` when."""

    rule: str
    whole_month: bool
    since: datetime
    of: str
    cap_usd: Decimal
    user: str | None = None
    project: str | None = None
    users: tuple[str, ...] | None = None

    def concerns(self, who: Who) -> bool:
        """Whether a run of theirs counts towards it."""
        in_team = self.users is None or who.user in self.users
        return in_team and self.user in (None, who.user) and self.project in (None, who.project)


def scopes(key: str, rule: Rule | None, spenders: Iterable[Who], now: datetime) -> Iterator[Scope]:
    """The caps of a rule on spending, one for each that is named or spent; none of another rule."""
    if not isinstance(rule, MaxSpendPerPeriod):
        return
    caps, seen = rule.caps, list(spenders)
    period = rule.whole_month, rule.begin(now)
    if caps.total is not None:
        yield Scope(key, *period, "in total", caps.total)
    for user in _names(caps.users, (who.user for who in seen)):
        usd = caps.users.get(user, caps.per_user)
        if usd is not None:
            yield Scope(key, *period, f"of user {user}", usd, user=user)
    for project in _names(caps.projects, (who.project for who in seen if who.project)):
        usd = caps.projects.get(project, caps.per_project)
        if usd is not None:
            yield Scope(key, *period, f"of project {project}", usd, project=project)
    for team, (users, usd) in caps.teams.items():
        yield Scope(key, *period, f"of team {team}", usd, users=users)


def alerts(
    terms: AlertTerms, caps: Sequence[CapState], runs: Sequence[OpenRun], now: datetime
) -> list[Alert]:
    """What there is to hear of, the caps first."""
    return [*_of_caps(terms, caps, now), *_of_runs(terms, runs, now)]


def _of_caps(terms: AlertTerms, caps: Sequence[CapState], now: datetime) -> Iterator[Alert]:
    for cap in caps:
        name = f"{cap.rule} {cap.of}"
        period = f"{now:%Y-%m}" if cap.whole_month else f"{now:%F}"
        held = cap.spent_usd + cap.reserved_usd
        reached = [percent for percent in terms.at_percent if cap.used * 100 >= percent]
        if reached:
            percent = max(reached)
            text = (
                f"{name}: {cap.used:.0%} of {cap.cap_usd} USD is spent or reserved "
                f"({held:.2f} USD; the alert is at {percent}%)"
            )
            yield Alert("cap", f"cap {name} {percent} {period}", text)
        if terms.forecast and cap.forecast is not None and cap.forecast.p50 > cap.cap_usd:
            text = (
                f"{name}: the month is expected to come to {cap.forecast.p50:.2f} USD "
                f"({cap.forecast.p10:.2f} to {cap.forecast.p90:.2f}), above {cap.cap_usd} USD"
            )
            yield Alert("forecast", f"forecast {name} {period}", text)


def _of_runs(terms: AlertTerms, runs: Sequence[OpenRun], now: datetime) -> Iterator[Alert]:
    for run in runs:
        if run.kill_at is not None and now > run.kill_at + KILL_LATE:
            late = (now - run.kill_at).total_seconds() / 60
            text = (
                f"run {run.run_id} ({run.job}): its machine should have been ended {late:.0f} min "
                f"ago, and nobody has seen it gone: mlbroker reconcile"
            )
            yield Alert("kill", f"kill {run.run_id}", text)
        if run.idle_s is not None and run.idle_s >= terms.idle_s:
            text = f"run {run.run_id} ({run.job}) has done nothing for {run.idle_s / 60:.0f} min"
            yield Alert("idle", f"idle {run.run_id}", text)


def _names(named: Iterable[str], seen: Iterable[str]) -> list[str]:
    return sorted({*named, *seen})
