"""A report on a period: what was spent, saved and drawn, what the month comes to, what is left."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mlbroker.broker.app.ledger import month_of
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.report.entries import KINDS, Entry, entries
from mlbroker.broker.report.own_machines import node_uses
from mlbroker.broker.report.report import Day, Report, ReportQuery
from mlbroker.broker.report.tally import (
    KEYS,
    calibration,
    costs,
    tallies,
    tally,
    times,
)
from mlbroker.policies.spend_forecast import SpendHistory, Spread, month_total

if TYPE_CHECKING:
    from mlbroker.policies.alerts import CapState
    from mlbroker.policies.guardrails.judge import Policy

# So many days before this one tell what the days to come cost.
HISTORY_DAYS = 56
TEAM = "team"


def period(month: str | None, since: str | None, now: datetime) -> tuple[datetime, datetime]:
    """The month (YYYY-MM, UTC; this one when nothing is said), or from a day or span until now."""
    if month is not None and since is not None:
        raise InputError("give either --month or --since", where="--since")
    if since is not None:
        return _since(since, now), now
    first = now if month is None else month_of(month, f"{month!r} is not a month")
    begin = datetime(first.year, first.month, 1, tzinfo=UTC)
    return begin, (begin + timedelta(days=32)).replace(day=1)


def _since(text: str, now: datetime) -> datetime:
    from mlbroker.broker.files.values import parse_duration_s, parse_option

    try:
        begin = datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        begin = now - timedelta(seconds=parse_option("--since", text, parse_duration_s) or 0)
    if begin > now:
        raise InputError(f"{text} is still to come", where="--since")
    return begin


def report(query: ReportQuery, policy: "Policy | None", state: Path, now: datetime) -> Report:
    """The report, as the ledger stands; LedgerError where that cannot be read."""
    known = known_runs(state, now, query.since)
    wanted = [e for e in known if query.since <= e.at < query.until and query.admits(e)]
    file = nodes_file(state, query.nodes)
    nodes: list[Node] = load_nodes(file) if file else []
    return Report(
        query,
        now,
        wanted,
        tally(wanted),
        tallies(wanted, _key(query.by, policy)),
        list(_days(wanted, query, now)),
        calibration(times(wanted)),
        calibration(costs(wanted)),
        node_uses(nodes, known, query.since, min(query.until, now)),
        forecast(list(filter(query.admits, known)), now) if query.until >= now else None,
        caps_of(policy, known, now),
        [entry for entry in known if entry.open],
    )


def known_runs(state: Path, now: datetime, since: datetime | None = None) -> list[Entry]:
    """The runs that matter now, those `since` then, and all that are open."""
    recent = now - timedelta(days=HISTORY_DAYS + 31)
    read_from = recent if since is None else min(since, recent)
    return entries(open_ledger(state).facts_of_kinds(KINDS, read_from))


def _key(by: str, policy: "Policy | None") -> Callable[[Entry], str | None]:
    if by != TEAM:
        return KEYS[by]
    teams = policy.teams if policy is not None else {}
    if not teams:
        raise InputError(
            "no policy file tells of teams",
            where="--by team",
            hint="Write `teams: {vision: [ada, bob]}` into mlbroker-policy.yaml.",
        )
    by_user = {user: team for team, users in teams.items() for user in users}
    return lambda entry: by_user.get(entry.user)


def caps_of(policy: "Policy | None", known: Sequence[Entry], now: datetime) -> "list[CapState]":
    """How the policy's caps on days and months stand, by all runs there are."""
    if policy is None:
        return []
    from mlbroker.policies.alerts import CapState, scopes
    from mlbroker.policies.guardrails.interface import Who

    month, _ = period(None, None, now)
    spenders = {Who(e.user, e.project) for e in known if e.open or e.at >= month}
    states = []
    for key, rule in policy.rules.items():
        for scope in scopes(key, rule, spenders, now):
            concerned = [e for e in known if scope.concerns(Who(e.user, e.project))]
            held = [e for e in concerned if e.open or e.at >= scope.since]
            # An open run holds all that it may still come to cost, as it does in the caps.
            reserved = sum((max(e.held_usd - e.spent_usd, Decimal(0)) for e in held), Decimal(0))
            states.append(
                CapState(
                    scope.rule,
                    scope.of,
                    scope.whole_month,
                    scope.cap_usd,
                    sum((e.spent_usd for e in held), Decimal(0)),
                    reserved,
                    forecast(concerned, now) if scope.whole_month else None,
                )
            )
    return states


def forecast(known: Sequence[Entry], now: datetime) -> Spread | None:
    """What the month of `now` comes to, by these runs of it and of the weeks before."""
    today = now.astimezone(UTC).date()
    by_day: dict[date, float] = {}
    open_runs, so_far = [], 0.0
    for entry in known:
        day = entry.at.astimezone(UTC).date()
        this_month = (day.year, day.month) == (today.year, today.month)
        spread = _whole_cost(entry)
        by_day[day] = by_day.get(day, 0.0) + spread.p50
        if entry.open:
            open_runs.append(spread)
        elif this_month:
            so_far += float(entry.spent_usd)
    first = max(min(by_day, default=today), today - timedelta(days=HISTORY_DAYS))
    days = [by_day.get(first + timedelta(n), 0.0) for n in range((today - first).days)]
    midnight = datetime.combine(today, time(), UTC)
    left = 1 - (now - midnight) / timedelta(days=1)
    return month_total(SpendHistory(first, days, today, left), so_far, open_runs)


def _whole_cost(entry: Entry) -> Spread:
    """What a run costs in all, when it is over."""
    spent = float(entry.spent_usd)
    if not entry.open:
        return Spread(spent, spent, spent)
    told, most = entry.told, max(float(entry.held_usd), spent)
    if told is None:
        # Of one that nobody predicted: anything up to what is reserved.
        return Spread(spent + 0.1 * (most - spent), (spent + most) / 2, most)
    low, likely, high = told.usd or (told.expected_usd, told.expected_usd, told.p90_usd)
    return Spread(*(min(max(float(usd), spent), most) for usd in (low, likely, high)))


def _days(runs: Sequence[Entry], query: ReportQuery, now: datetime) -> Iterator[Day]:
    spent: dict[date, Decimal] = {}
    for entry in runs:
        day = entry.at.astimezone(UTC).date()
        spent[day] = spent.get(day, Decimal(0)) + entry.spent_usd
    first, last = query.since.date(), min(query.until - timedelta(microseconds=1), now).date()
    for n in range((last - first).days + 1):
        day = first + timedelta(n)
        yield Day(day, spent.get(day, Decimal(0)))
