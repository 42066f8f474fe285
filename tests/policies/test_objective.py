"""Every objective prefers what its name says, and knows what to do about the unknown."""

import json
from decimal import Decimal
from importlib.resources import files
from typing import NamedTuple

import pytest

from mlbroker.policies.objective import sort_key
from mlbroker.profiles.job import Objective, ObjectiveKind


class Case(NamedTuple):
    """Two outcomes as (cost in USD, seconds, kgCO2e); the objective prefers the first."""

    better: tuple[float, float, float | None]
    worse: tuple[float, float, float | None]
    price: Decimal | None = None


CASES = {
    ObjectiveKind.COST: Case((1.0, 900.0, 9.0), (2.0, 100.0, 1.0)),
    ObjectiveKind.TIME: Case((9.0, 100.0, 9.0), (1.0, 101.0, 1.0)),
    ObjectiveKind.CARBON: Case((9.0, 900.0, 1.0), (1.0, 100.0, 2.0)),
    ObjectiveKind.WEIGHTED: Case((1.0, 900.0, 1.0), (0.9, 100.0, 2.0), Decimal("0.2")),
}


def test_every_objective_has_its_case() -> None:
    assert set(CASES) == set(ObjectiveKind)


@pytest.mark.parametrize("kind", CASES)
def test_it_prefers_what_its_name_says(kind: ObjectiveKind) -> None:
    case = CASES[kind]
    objective = Objective(kind, case.price)
    assert sort_key(objective, *case.better) < sort_key(objective, *case.worse)


@pytest.mark.parametrize("kind", CASES)
def test_of_two_that_are_equal_to_it_the_cheaper_comes_first(kind: ObjectiveKind) -> None:
    objective = Objective(kind, CASES[kind].price)
    assert sort_key(objective, 1.0, 100.0, 1.0) < sort_key(objective, 1.1, 100.0, 1.0)


@pytest.mark.parametrize("kind", [ObjectiveKind.CARBON, ObjectiveKind.WEIGHTED])
def test_unknown_carbon_is_never_taken_for_none(kind: ObjectiveKind) -> None:
    objective = Objective(kind, Decimal("0.1"))
    assert sort_key(objective, 99.0, 900.0, 1e6) < sort_key(objective, 0.01, 1.0, None)


def test_a_price_on_carbon_moves_the_choice_where_it_outweighs_the_saving() -> None:
    clean, cheap = (1.0, 100.0, 1.0), (0.9, 100.0, 2.0)
    for price, best in (("0.05", cheap), ("0.15", clean)):
        objective = Objective(ObjectiveKind.WEIGHTED, Decimal(price))
        assert min(clean, cheap, key=lambda outcome: sort_key(objective, *outcome)) == best


def test_the_schema_of_job_files_names_every_objective() -> None:
    schema = json.loads((files("mlbroker.broker") / "schemas" / "job.json").read_text())
    names = {kind.value for kind in ObjectiveKind if kind is not ObjectiveKind.WEIGHTED}

    def enums(node: object) -> list[list[str]]:
        if isinstance(node, dict):
            own = [node["enum"]] if "enum" in node else []
            return own + [found for value in node.values() for found in enums(value)]
        if isinstance(node, list):
            return [found for value in node for found in enums(value)]
        return []

    assert names in [set(values) for values in enums(schema)]
