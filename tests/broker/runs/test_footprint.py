"""Where a machine's seconds went, and what it drew: worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from mlbroker.broker.ledger import Attempt
from mlbroker.broker.runs.footprint import footprint
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.power import Draw, Supply
from mlbroker.pricing.vendors import Meter

AT = datetime(2026, 11, 1, tzinfo=UTC)
SUPPLY = Supply(Draw(4, 8.0, 24.0, 10.0, 100.0), pue=1.25, grid_kgco2e_per_kwh=0.4)
OPTION = LaunchOption(
    "aws", "r", "m", "spot", Bill(Decimal(1), 2, Meter()), gpu=True, supply=SUPPLY
)
ATTEMPT = Attempt(
    1, "t", "aws", "r", None, "m", "spot", 2, Decimal(1), AT, AT + timedelta(hours=9), Decimal(9),
    why="finished",
)  # fmt: skip
HOUR = AT + timedelta(hours=1)
# A command of 2,700 of the hour's 3,600 seconds.
FIGURES: dict[str, Any] = {"command_s": 2700.0, "cpu": 2.0, "gpu": 0.5, "unused_s": 200.0}


def of(attempt: Attempt = ATTEMPT, option: LaunchOption = OPTION, **figures: Any) -> dict[str, Any]:
    order = Order("id", "j", (option,), {})
    return footprint(replace(attempt, figures=figures or attempt.figures), order, HOUR)


def kwh(joules: float) -> Any:
    """Of two machines in that building."""
    return pytest.approx(joules * 2 * 1.25 / 3.6e6)


def test_a_finished_commands_time_is_useful_but_for_what_it_waited() -> None:
    assert of(**FIGURES)["seconds"] == {
        "stood": 3600.0, "setup": 900.0, "useful": 2500.0, "unused": 200.0, "lost": 0.0,
    }  # fmt: skip


def test_of_one_that_was_taken_what_was_saved_counts() -> None:
    taken = replace(ATTEMPT, why="preempted")
    told = of(taken, **FIGURES, saved_s=1800.0)["seconds"]
    assert (told["useful"], told["unused"], told["lost"]) == (1600.0, 200.0, 900.0)
    assert of(taken, **FIGURES)["seconds"]["lost"] == 2700.0


def test_of_one_that_nobody_heard_of_nobody_knows() -> None:
    told = of()
    assert told["seconds"] == {
        "stood": 3600.0, "setup": None, "useful": None, "unused": None, "lost": None,
    }  # fmt: skip
    # Half busy, with its GPU at work, as in a plan.
    assert told["energy"]["kwh"] == kwh(3600 * (16 + 10 + 100))
    assert told["energy"]["source"] == "assumed"


def test_energy_is_by_how_busy_it_was() -> None:
    energy = of(**FIGURES)["energy"]
    command, idle = 16 + 100 * (0.1 + 0.9 * 0.5), 8 + 10
    assert energy["kwh"] == kwh(2700 * command + 900 * idle + 3600 * 10)
    assert energy["kgco2e"] == pytest.approx(energy["kwh"] * 0.4)
    assert energy["source"] == "utilisation"


def test_meters_are_believed_before_it() -> None:
    energy = of(**FIGURES, gpu_w=62.0, package_j=30_000.0)["energy"]
    assert energy["kwh"] == kwh(30_000 + 62 * 2700 + 900 * (8 + 10) + 3600 * 10)
    assert energy["source"] == "rapl+nvml"


def test_meters_of_another_machine_are_not() -> None:
    lies = of(**FIGURES, gpu_w=1e6, package_j=1e14)["energy"]
    assert lies == of(**FIGURES)["energy"]


def test_unknown_stays_unknown() -> None:
    nowhere = replace(OPTION, supply=replace(SUPPLY, grid_kgco2e_per_kwh=None))
    energy = of(option=nowhere, **FIGURES)["energy"]
    assert (energy["kgco2e"], energy["kwh"] > 0) == (None, True)
    assert of(option=replace(OPTION, supply=None), **FIGURES)["energy"] is None
