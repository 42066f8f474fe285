"""What every guardrail promises (mlbroker.policies.guardrails.interface): one key of a policy file.

A package of its own subclasses `GuardrailSuite` with a fixture `guardrail`.
"""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.policy_file import PolicySection
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    UNKNOWN,
    Reservation,
    Rule,
    RunContext,
    Subject,
    Who,
)

PLAIN = Subject("aws", "eu-1", "cpu.large", "on_demand", 8, Decimal("3.2"), False, Decimal(1), 1.0)
SUBJECT = replace(PLAIN, instance_type="gpu.large", price_per_hour_usd=Decimal("4.8"), gpu=True)
DOLLAR = Reservation("j", datetime(2026, 11, 24, 12, tzinfo=UTC), Decimal(1), (), ())


class Case(NamedTuple):
    """Values of a key: one that forbids a run of eight nodes on a GPU machine of AWS, for a dollar,
    where a machine without a GPU would do; one that lets it pass.

    `at_reservation` is for rules that have nothing to say before money is about to be reserved.
    """

    forbids: str
    allows: str
    at_reservation: bool = False


class Guardrail(NamedTuple):
    """A rule under its key, with its case."""

    key: str
    rule: type[Rule]
    case: Case

    def rule_of(self, value: str) -> Rule | None:
        """The rule of a policy file that says so."""
        text, keys = f"{self.key}: {value}", (self.key, *self.rule.companions)
        return self.rule.read(PolicySection.document(text, "p.yaml", keys, text), self.key)


def verdict(guardrail: Guardrail, value: str, subject: Subject, **run: Any) -> str | None:
    """Why the rule of this value forbids that."""
    rule = guardrail.rule_of(value)
    who = Who("ada", "search")
    whole = {"who": who, "reason": None, "plain": PLAIN, "reservation": UNDECIDED} | run
    return None if rule is None else rule.why_not(subject, RunContext(**whole))


class GuardrailSuite:
    """The tests; a subclass has a fixture `guardrail`."""

    def test_it_forbids_and_lets_pass(self, guardrail: Guardrail) -> None:
        case = guardrail.case
        held = DOLLAR if case.at_reservation else UNDECIDED
        assert verdict(guardrail, case.forbids, SUBJECT, reservation=held)
        assert verdict(guardrail, case.allows, SUBJECT, reservation=held) is None
        if case.at_reservation:
            assert verdict(guardrail, case.forbids, SUBJECT) is None

    def test_it_reads_its_example_and_refuses_what_is_none(self, guardrail: Guardrail) -> None:
        assert guardrail.rule_of(guardrail.rule.example) is not None
        assert guardrail.rule.__doc__
        with pytest.raises(InputError, match=guardrail.key):
            guardrail.rule_of("[[not, a], {value: 5}]")
        assert guardrail.rule.remedy.format(job="j", source="p.yaml", user="u", usd="1")

    @pytest.mark.parametrize("field", ["gpu", "cost_usd", "carbon_kg"])
    def test_a_figure_that_nobody_knows_refuses(self, guardrail: Guardrail, field: str) -> None:
        """Where the figure can make a difference, not to know it is to refuse."""
        case = guardrail.case
        extremes: dict[str, list[Any]] = {
            "gpu": [False, True],
            "cost_usd": [Decimal(0), Decimal(10**9)],
            "carbon_kg": [0.0, 1e12],
        }
        for value in (case.forbids, case.allows):
            known = [
                verdict(guardrail, value, replace(SUBJECT, **{field: figure}))
                for figure in extremes[field]
            ]
            nobody: dict[str, Any] = {field: UNKNOWN}
            unknown = verdict(guardrail, value, replace(SUBJECT, **nobody))
            assert (unknown is None) == all(why is None for why in known)

    def test_what_is_not_decided_yet_is_not_judged(self, guardrail: Guardrail) -> None:
        """What is forbidden wherever a machine stands is forbidden everywhere, at any cost."""
        for value in (guardrail.case.forbids, guardrail.case.allows):
            anywhere = replace(SUBJECT, region=UNDECIDED, cost_usd=UNDECIDED, carbon_kg=UNDECIDED)
            if verdict(guardrail, value, anywhere) is None:
                continue
            for region in ("eu-1", "us-1"):
                for usd in (Decimal(0), Decimal(10**9)):
                    assert verdict(guardrail, value, replace(SUBJECT, region=region, cost_usd=usd))
