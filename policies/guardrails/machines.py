"""Patterns of machines, which `allow` and `deny` share."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Self

from mlbroker.policies.guardrails.interface import Missing, Rule, Section, Subject
from mlbroker.pricing.vendors import vendor


@dataclass(frozen=True, slots=True)
class Machines:
    """Patterns (`*` and `?`) of machines, aspect by aspect. An empty tuple names none."""

    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()

    def aspects(self, subject: Subject) -> Iterator[tuple[str, bool]]:
        """In words each aspect that has patterns and is decided already, and if it is named."""
        values: list[tuple[str, tuple[str, ...], str | Missing]] = [
            ("cloud", self.clouds, subject.cloud),
            ("region", self.regions, subject.region),
            ("family", self.families, vendor(subject.cloud).family(subject.instance_type)),
            ("instance type", self.instance_types, subject.instance_type),
            ("market", self.markets, subject.market),
        ]
        for name, patterns, value in values:
            if patterns and not isinstance(value, Missing):
                yield f"{name} {value}", any(fnmatchcase(value, p) for p in patterns)


@dataclass(frozen=True, slots=True)
class MachineRule(Rule):
    """A rule whose value is patterns of machines."""

    machines: Machines

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """Lists by aspect; a mapping that lists nothing is a mistake."""
        section = file.section(key)
        if section is None:
            return None
        aspects = [field.name for field in fields(Machines)]
        section.refuse_unknown(aspects)
        found = Machines(**{aspect: section.names(aspect) for aspect in aspects})
        if found == Machines():
            file.fail(key, "lists nothing", f"{key}: {{clouds: [aws]}}")
        return cls(found)
