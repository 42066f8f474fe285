"""Patterns of machines, which `allow` and `deny` share."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import NamedTuple

from mlbroker.policies.guardrails.interface import Missing, Section, Subject
from mlbroker.pricing.vendors import vendor


@dataclass(frozen=True, slots=True)
class Machines:
    """Patterns (`*` and `?`) of machines, aspect by aspect. An empty tuple names none."""

    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()

    def aspects(self, subject: Subject) -> Iterator["Aspect"]:
        """The patterns beside the machine's own value, save where that is not decided yet."""
        values: list[tuple[str, tuple[str, ...], str | Missing]] = [
            ("cloud", self.clouds, subject.cloud),
            ("region", self.regions, subject.region),
            ("family", self.families, vendor(subject.cloud).family(subject.instance_type)),
            ("instance type", self.instance_types, subject.instance_type),
            ("market", self.markets, subject.market),
        ]
        for name, patterns, value in values:
            if patterns and not isinstance(value, Missing):
                yield Aspect(f"{name} {value}", any(fnmatchcase(value, p) for p in patterns))


class Aspect(NamedTuple):
    """One aspect of a machine in words, and whether a pattern names it."""

    words: str
    is_named: bool


def read_machines(file: Section, key: str) -> Machines | None:
    """The patterns under `key`; a mapping that lists nothing is a mistake."""
    section = file.section(key)
    if section is None:
        return None
    aspects = [field.name for field in fields(Machines)]
    section.refuse_unknown(aspects)
    found = Machines(**{aspect: section.names(aspect) for aspect in aspects})
    if found == Machines():
        file.fail(key, "lists nothing", f"{key}: {{clouds: [aws]}}")
    return found
