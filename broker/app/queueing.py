"""What a run says of itself in a queue: by its options, its job file and the policy file."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.app.sources import stated_at
from mlbroker.broker.errors import InputError
from mlbroker.broker.ledger import Run
from mlbroker.broker.queue.terms import USUAL_POLICY, USUAL_USD_PER_H, Asked, Terms
from mlbroker.broker.runs.launch import current_project, current_user
from mlbroker.broker.words import exact_usd
from mlbroker.profiles.job import Job

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Policy


class Options(NamedTuple):
    """Of the command line; None: the job file says, or nobody."""

    value_usd_per_h: Decimal | None = None
    team: str | None = None
    yields: bool = True


def asked_of(
    job: Job, path: Path, rules: "Policy | None", options: Options, project: str | None
) -> Asked:
    """InputError, with its place, for a team that is not the user's, and a value of time above
    what its owner may spend.
    """
    team, where = options.team, "--team"
    if team is None and job.queue.team is not None:
        team, where = job.queue.team, stated_at(path, "broker.queue.team")
    team = _team(rules, team, where)
    usd_per_h, where = options.value_usd_per_h, "--value-of-time"
    if usd_per_h is None and job.queue.value_usd_per_h is not None:
        usd_per_h, where = job.queue.value_usd_per_h, stated_at(path, "broker.queue.value_of_time")
    if usd_per_h is None:
        usd_per_h = USUAL_USD_PER_H
    else:
        _refuse_beyond_caps(rules, usd_per_h, current_project(path, project), where)
    policy, shares = (rules.queue, rules.shares) if rules else (None, {})
    return Asked(usd_per_h, team, options.yields, policy or USUAL_POLICY, shares)


def other_rules(run: Run, runs: Sequence[Run]) -> str | None:
    """A sentence where others at the same places were handed in under other rules: the last one's
    count, for all.
    """
    ours = Terms.of(run)
    for other in runs:
        theirs = Terms.of(other)
        if other.run_id == run.run_id or not set(theirs.places) & set(ours.places):
            continue
        if (theirs.policy, theirs.shares) != (ours.policy, ours.shares):
            return (
                f"{other.run_id} of {other.user} was handed in under other rules of the queue "
                f"({theirs.policy}); from now on those of this run count for both ({ours.policy})"
            )
    return None


def _refuse_beyond_caps(
    rules: "Policy | None", usd_per_h: Decimal, project: str | None, where: str
) -> None:
    """An hour of waiting that is worth more than all that may be spent is a slip of the pen."""
    if rules is None:
        return
    from mlbroker.policies.guardrails.interface import Who
    from mlbroker.policies.guardrails.max_spend_per_period import MaxSpendPerPeriod

    for key, rule in rules.rules.items():
        caps = rule.caps if isinstance(rule, MaxSpendPerPeriod) else None
        for cap in caps.on(Who(current_user(), project)) if caps else ():
            if usd_per_h > cap.usd:
                raise InputError(
                    f"{exact_usd(usd_per_h)} USD/h is more than {key} lets pass {cap.name}: "
                    f"{exact_usd(cap.usd)} USD",
                    where=where,
                    hint="Say what an hour of waiting costs the team.",
                )


def _team(rules: "Policy | None", named: str | None, where: str) -> str | None:
    """The team that was named, or the user's own; only the policy file knows teams."""
    teams = rules.teams if rules is not None else {}
    user = current_user()
    own = next((name for name, users in teams.items() if user in users), None)
    if named is None or not teams:
        return named or own
    if named not in teams:
        raise InputError(
            f"there is no team {named!r}", where=where, hint=f"Known: {', '.join(sorted(teams))}."
        )
    if named != own:
        # Caps are by who spends: another team's share goes with that team's cap.
        raise InputError(
            f"{user} is not in team {named!r}",
            where=where,
            hint=f"The policy file's teams say who is in one: {rules.source if rules else ''}",
        )
    return named
