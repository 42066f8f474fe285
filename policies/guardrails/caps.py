"""Caps on money for everybody, each user, project and team, which the spending rules share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.guardrails.interface import Section, Who

_KEYS = ("total", "per_user", "per_project", "users", "projects")


class Cap(NamedTuple):
    """An amount, what to call it, and whose money counts towards it."""

    name: str
    usd: Decimal
    concerns: Callable[[Who], bool]


@dataclass(frozen=True, slots=True)
class Caps:
    """Caps in USD: on everybody together, on each user or project, or on named ones.

    `teams` are users with what they may spend together.
    """

    total: Decimal | None = None
    per_user: Decimal | None = None
    per_project: Decimal | None = None
    users: Mapping[str, Decimal] = field(default_factory=dict)
    projects: Mapping[str, Decimal] = field(default_factory=dict)
    teams: Mapping[str, tuple[tuple[str, ...], Decimal]] = field(default_factory=dict)

    def on(self, who: Who) -> list[Cap]:
        """Those that concern a spender."""
        user, project = who.user, who.project
        per_project = self.per_project
        if project is not None:
            per_project = self.projects.get(project, per_project)
        caps: list[tuple[str, Decimal | None, Callable[[Who], bool]]] = [
            ("in total", self.total, lambda _: True),
            (f"of user {user}", self.users.get(user, self.per_user), lambda by: by.user == user),
            (f"of project {project or '(none)'}", per_project, lambda by: by.project == project),
        ]
        found = [Cap(name, usd, concerns) for name, usd, concerns in caps if usd is not None]
        found += [_of_team(name, *cap) for name, cap in self.teams.items() if user in cap[0]]
        return found


def _of_team(name: str, users: tuple[str, ...], usd: Decimal) -> Cap:
    return Cap(f"of team {name}", usd, lambda by: by.user in users)


def read_caps(file: Section, key: str) -> Caps | None:
    """One amount for everybody, or a mapping of amounts."""
    if not file.is_mapping(key):
        total = file.value(key, file.money_usd)
        return None if total is None else Caps(total)
    section = file.section(key)
    assert section is not None
    section.refuse_unknown(_KEYS)
    return Caps(
        total=section.value("total", section.money_usd),
        per_user=section.value("per_user", section.money_usd),
        per_project=section.value("per_project", section.money_usd),
        users=_amounts(section, "users"),
        projects=_amounts(section, "projects"),
    )


def _amounts(section: Section, key: str) -> dict[str, Decimal]:
    by_name = section.section(key)
    if by_name is None:
        return {}
    amounts = {name: by_name.value(name, by_name.money_usd) for name in by_name}
    return {name: usd for name, usd in amounts.items() if usd is not None}
