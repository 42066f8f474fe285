"""`teams:` of the policy file: who is in one, its share of own places, and its cap of a month."""

from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.guardrails.interface import Section

TEAMS, MONTH_CAP = "teams", "max_spend_per_month"


class TeamTerms(NamedTuple):
    """One team. `share` of the places is its own when it wants them; None: it has none."""

    users: tuple[str, ...]
    share: float | None = None
    month_usd: Decimal | None = None


def read_teams(file: Section) -> dict[str, TeamTerms]:
    """By name. A user is in one at most, as what is spent counts once; shares are of one whole."""
    section = file.section(TEAMS)
    if section is None:
        return {}
    teams = {name: _terms(section, name) for name in section}
    found: dict[str, str] = {}
    for team, terms in teams.items():
        for user in terms.users:
            if user in found:
                section.fail(team, f"{user!r} is in {found[user]} already")
            found[user] = team
    if sum(terms.share or 0.0 for terms in teams.values()) > 1 + 1e-9:
        file.fail(TEAMS, "the shares come to more than 100 %")
    return teams


def _terms(section: Section, name: str) -> TeamTerms:
    if not section.is_mapping(name):
        return TeamTerms(section.names(name))
    team = section.section(name)
    assert team is not None
    team.refuse_unknown(("users", "share", MONTH_CAP))
    users = team.names("users")
    if not users:
        section.fail(name, "has no users", "{users: [ada, bob], share: 50%}")
    share, month_usd = team.value("share", team.share), team.value(MONTH_CAP, team.money_usd)
    return TeamTerms(users, share, month_usd)
