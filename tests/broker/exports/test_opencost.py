"""Charges as OpenCost's allocation API answers."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support import spot_ledgers
from tests.support.books_of_runs import attempt, run
from tests.support.cli import mlbroker
from tests.support.indexed import indexed
from tests.support.spot_ledgers import Try

from mlbroker.broker.exports.charges import charges
from mlbroker.broker.exports.opencost import allocations
from mlbroker.pricing.offer import Gpu, Hardware

T4 = Hardware(4, 16, "x86_64", gpu=Gpu("T4", 16), gpu_count=1)


def test_an_allocation_in_full() -> None:
    found = list(charges([run(attempt(nodes=2))]))
    answer = allocations(found, lambda cloud, name: T4 if name == "m5.xlarge" else None)
    assert answer["code"] == 200
    ((name, one),) = answer["data"][0].items()
    assert name == one["name"] == "20261130-225900-bert-abcd/1"
    assert one["minutes"] == pytest.approx(7201 / 60)
    hours = 7201 / 3600
    assert (one["cpuCores"], one["gpuCount"], one["ramBytes"]) == (8, 2, 2 * 16 * 1024**3)
    assert one["cpuCoreHours"] == pytest.approx(8 * hours)
    assert one["gpuHours"] == pytest.approx(2 * hours)
    assert one["totalCost"] == 0.5
    # The books do not split a charge: no part of it is invented.
    assert one["cpuCost"] is one["gpuCost"] is one["ramCost"] is one["pvCost"] is None
    assert one["properties"]["providerID"] == "i-0abc"
    assert one["properties"]["namespace"] == "nlp"
    assert datetime.fromisoformat(one["start"]) < datetime.fromisoformat(one["end"])


def test_the_window_holds_all_and_costs_add_up() -> None:
    first, second = attempt(), attempt(number=2, charged_usd=Decimal("0.25"))
    answer = allocations(list(charges([run(first, second)])), lambda cloud, name: None)
    every = answer["data"][0].values()
    assert sum(one["totalCost"] for one in every) == pytest.approx(0.75)
    for one in every:
        assert one["window"]["start"] <= one["start"] < one["end"] <= one["window"]["end"]
        assert one["cpuCores"] is one["cpuCoreHours"] is one["gpuCount"] is None


def test_no_charge_is_an_empty_set() -> None:
    assert allocations([], lambda cloud, name: None) == {"code": 200, "data": [{}]}


def test_the_document_of_a_ledger(tmp_path: Path) -> None:
    home = indexed(tmp_path / "home")
    spot_ledgers.write(home, Try(0, "finished", 2), Try(3, "no_capacity"))
    done = mlbroker("ledger", "export", "--format", "opencost", home=home)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["data"][0].values()
    assert (one["cpuCores"], one["gpuCount"], one["totalCost"]) == (4, 1, 1.0)
