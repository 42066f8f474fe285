"""What is written down of a run before anything is reserved."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger import Attempt
from mlbroker.broker.runs.attempt import payload_for
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.region import Region
from mlbroker.profiles.batch import Batch, LearningRate, LrRule

REGION = Region("azure", "eastus", disk_usd_per_gb_month=Decimal("0.08"))
BILL = Bill.of(REGION, Decimal("0.192"), 2, 1000, once_usd=Decimal("0.45"))
MACHINE = LaunchOption(
    "azure", "eastus", "Standard_D4s_v5", "spot", BILL, gpu=False, expected_usd=Decimal("0.3")
)


def test_an_order_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rising = replace(MACHINE, max_price_per_hour_usd=Decimal("0.24"))
    order = Order("r1", "job", (MACHINE, rising), {"command": "true"}, secrets=("TOKEN",))
    order.save(tmp_path)
    loaded = Order.load(tmp_path, order.digest())
    assert loaded == order
    assert loaded.candidates[1].dearest.usd_per_hour - BILL.usd_per_hour == Decimal("0.096")


BATCH = Batch(128, 1024, 64, "BATCH", "MICRO", "ACC", LearningRate("LR", 0.1, LrRule.ADASCALE))


def test_the_batch_of_an_order_is_read_back_and_one_without_it_too(tmp_path: Path) -> None:
    chosen = replace(MACHINE, batch_size=512, lr_scale=2.5)
    order = Order("r1", "job", (chosen,), {}, batch=BATCH)
    order.save(tmp_path)
    assert Order.load(tmp_path, order.digest()) == order
    raw = json.loads((tmp_path / "order.json").read_text())
    del raw["batch"], raw["candidates"][0]["batch_size"], raw["candidates"][0]["lr_scale"]
    text = json.dumps(raw)
    (tmp_path / "order.json").write_text(text)
    loaded = Order.load(tmp_path, hashlib.sha256(text.encode()).hexdigest())
    assert loaded == replace(order, candidates=(MACHINE,), batch=None)


def test_an_attempt_is_told_the_batch_that_was_chosen_for_it(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    place = ("azure", "eastus", None, "Standard_D4s_v5", "spot", 2, Decimal("0.192"))
    cloud, region, zone, kind, market, nodes, price = place
    attempt = Attempt(
        1, "t", cloud, region, zone, kind, market, nodes, price, now, now, Decimal(1),
        batch_size=512, lr_scale=2.5,
    )  # fmt: skip
    intent = Intent(
        "t", "r1", 1, "job", cloud, region, zone, kind, market, nodes, price, now, now
    )  # fmt: skip
    own = {"BATCH": "128", "OTHER": "as it is"}
    order = Order("r1", "job", (MACHINE,), {"envs": own}, batch=BATCH)
    folder = RunFolder.of(tmp_path, "r1")
    told = payload_for(order, attempt, intent, folder, {}).spec["envs"]
    assert (told["BATCH"], told["MICRO"], told["ACC"], told["LR"]) == ("512", "64", "4", "0.25")
    assert (told["MLBROKER_BATCH_SIZE"], told["MLBROKER_LR_SCALE"]) == ("512", "2.5")
    assert told["OTHER"] == "as it is"
    unchosen = replace(attempt, batch_size=None, lr_scale=None)
    assert payload_for(order, unchosen, intent, folder, {}).spec["envs"] == own
    assert order.spec["envs"] == own


def test_an_order_from_before_requests_were_billed_is_charged_as_it_was_reserved(
    tmp_path: Path,
) -> None:
    order = Order("r1", "job", (MACHINE,), {})
    order.save(tmp_path)
    raw = json.loads((tmp_path / "order.json").read_text())
    for name in ("requests_usd_per_hour", "requests_once_usd"):
        assert Decimal(raw["candidates"][0]["bill"].pop(name)) > 0
    text = json.dumps(raw)
    (tmp_path / "order.json").write_text(text)
    loaded = Order.load(tmp_path, hashlib.sha256(text.encode()).hexdigest())
    bill = loaded.candidates[0].bill
    assert bill == replace(BILL, requests_usd_per_hour=Decimal(0), requests_once_usd=Decimal(0))


def test_a_changed_order_is_refused(tmp_path: Path) -> None:
    order = Order("r1", "job", (MACHINE,), {})
    order.save(tmp_path)
    path = tmp_path / "order.json"
    path.write_text(path.read_text().replace('"3600"', '"1"'))
    with pytest.raises(MlbrokerError, match="changed after it was reserved"):
        Order.load(tmp_path, order.digest())


def test_the_order_of_a_run_opened_by_an_earlier_release_is_billed_as_it_was_then(
    tmp_path: Path,
) -> None:
    order = Order("r1", "job", (MACHINE,), {})
    order.save(tmp_path)
    raw = json.loads((tmp_path / "order.json").read_text())
    (machine,) = raw["candidates"]
    del machine["bill"], machine["disk_gb"], machine["image_id"]
    del machine["max_price_per_hour_usd"]
    raw |= {"disk_gb": 1000, "image_id": "theirs"}
    machine |= {"nodes": 2, "price_per_hour_usd": "0.192"}
    machine |= {"extra_per_hour_usd": "0.228", "fixed_usd": "0.45"}
    text = json.dumps(raw)
    (tmp_path / "order.json").write_text(text)
    loaded = Order.load(tmp_path, hashlib.sha256(text.encode()).hexdigest())
    bill = loaded.candidates[0].bill
    assert loaded.candidates[0].dearest == bill
    assert (loaded.candidates[0].disk_gb, loaded.candidates[0].image_id) == (1000, "theirs")
    assert bill.nodes == 2
    assert (
        bill.charge_usd(Decimal(1800))
        == Decimal("0.45") + (2 * Decimal("0.192") + Decimal("0.228")) / 2
    )
    assert bill.charge_usd(Decimal(1)) == bill.charge_usd(Decimal(60))
