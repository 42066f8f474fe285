"""`mlbroker prices …` as a user calls it: results on stdout, messages on stderr, exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.indexed import indexed
from tests.support.mlbroker import PATIENCE_S
from tests.support.price_servers import PriceServers, serving

Done = subprocess.CompletedProcess[str]
COLUMNS = "cloud,region,instance_type,market,price_per_hour_usd,as_of,source,stale"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("home"))


@pytest.fixture
def prices(home: Path) -> Callable[..., Done]:
    def call(*arguments: str, home: Path = home, **environment: str) -> Done:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLBROKER_"))}
        return subprocess.run(
            [sys.executable, "-c", "from mlbroker.broker.cli import main; main()", "prices",
             *arguments],
            capture_output=True, text=True, timeout=PATIENCE_S,
            env=environ | {"MLBROKER_HOME": str(home)} | environment,
        )  # fmt: skip

    return call


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[PriceServers]:
    with serving(home, {"eastus"}) as started:
        yield started


def test_status_names_dates_counts_and_age(prices: Callable[..., Done]) -> None:
    done = prices("status", "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "mlbroker.prices.status/1"
    assert sum(part["offers"] for part in document["parts"]) == document["offers"]
    assert set(document["as_of"]) == {"aws", "azure", "gcp"}
    plain = prices("status")
    assert "karpenter-azure" in plain.stdout
    assert "older than half a year" in plain.stderr


def test_show_gives_every_region_and_suggests_a_name(prices: Callable[..., Done]) -> None:
    document = json.loads(prices("show", "g5.xlarge", "--json").stdout)
    assert document["types"][0]["hardware"]["gpu"]["model"] == "A10G"
    assert {row["market"] for row in document["prices"]} == {"on_demand", "spot"}
    assert isinstance(document["prices"][0]["price_per_hour_usd"], str)
    wrong = prices("show", "g5.xlrge")
    assert wrong.returncode == 2
    assert "Did you mean g5.xlarge?" in wrong.stderr
    hostile = prices("show", "\x1b[31mred")
    assert hostile.returncode == 2
    assert "\x1b" not in hostile.stderr


def test_what_is_exported_comes_back_as_it_was(prices: Callable[..., Done], tmp_path: Path) -> None:
    lines = prices("export").stdout.splitlines()
    assert lines[0] == COLUMNS
    some = [line for line in lines if line.startswith("gcp,us-")]
    assert len(some) > 5_000
    file = tmp_path / "book.csv"
    file.write_text("\n".join([COLUMNS, *some]) + "\n")
    again = prices("export", "--prices", str(file)).stdout.splitlines()
    assert sorted(again) == sorted([COLUMNS, *some])


def test_export_as_json_is_one_document(prices: Callable[..., Done], tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text(f"{COLUMNS}\naws,mars,m5.large,spot,0.01,2026-11-01,me,false\n")
    done = prices("export", "--json", "--prices", str(file))
    (row,) = json.loads(done.stdout)["rows"]
    assert list(row) == COLUMNS.split(",")
    assert row["price_per_hour_usd"] == "0.01"


def test_import_wins_over_the_book_and_reports_what_it_left_out(
    prices: Callable[..., Done], tmp_path: Path
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(
        f"{COLUMNS}\naws,us-east-1,m5.large,on_demand,0.05,2026-11-01,contract,false\n"
        "aws,us-east-1,m5.xlarge,on_demand,0,2026-11-01,contract,false\n"
    )
    home = tmp_path / "home"
    done = prices("import", str(file), "--json", home=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == 1
    assert "1 of 2 rows left out" in done.stderr
    shown = json.loads(prices("show", "m5.large", "--json", home=home).stdout)["prices"]
    assert shown[0]["source"] == "contract"
    xlarge = json.loads(prices("show", "m5.xlarge", "--json", home=home).stdout)["prices"]
    assert any(row["region"] == "us-east-1" for row in xlarge)  # the book's own price stays
    assert prices("forget", home=home).returncode == 2
    assert prices("forget", "--imported", home=home).returncode == 0
    again = json.loads(prices("show", "m5.large", "--json", home=home).stdout)["prices"]
    assert all(row["source"] != "contract" for row in again)
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n")
    refused = prices("import", str(bad), home=home)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Traceback" not in refused.stderr


def test_regions_lists_the_grid(prices: Callable[..., Done]) -> None:
    rows = json.loads(prices("regions", "--json").stdout)["regions"]
    iowa = next(row for row in rows if row["region"] == "us-central1")
    assert 0.1 < iowa["grid_intensity_kgco2e_per_kwh"] < 1
    assert iowa["disk_usd_per_gb_month"] == "0.1"
    assert "kgCO2e/kWh" in prices("regions").stdout


def test_verify_passes_the_book_and_names_what_is_odd(
    prices: Callable[..., Done], tmp_path: Path
) -> None:
    assert prices("verify").returncode == 0
    file = tmp_path / "odd.csv"
    lines = [
        f"aws,r{n},m5.large,on_demand,{price},2026-11-01,me,false"
        for n, price in enumerate(("0.1", "0.1", "0.1", "0.1", "0.0001"))
    ]
    file.write_text("\n".join([COLUMNS, *lines]) + "\n")
    done = prices("verify", "--prices", str(file), "--json")
    assert done.returncode == 5
    (odd,) = json.loads(done.stdout)["quarantined"]
    assert (odd["region"], odd["price_per_hour_usd"]) == ("r4", "0.0001")


def test_refresh_from_the_terminal(
    prices: Callable[..., Done], servers: PriceServers, home: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "home"
    arguments = ("refresh", "--cloud", "azure", "--region", "eastus")
    done = prices(*arguments, "--json", home=mine, **servers.environment)
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads(done.stdout)["refreshed"]
    assert outcome["prices"] > 1000
    status = json.loads(prices("status", "--json", home=mine).stdout)
    assert status["refreshed"][0]["cloud"] == "azure"
    assert any(part["source"] == "azure-retail-prices" for part in status["parts"])
    servers.faults.add("/api/retail/prices", "garbage")
    failed = prices(*arguments, home=mine, **servers.environment)
    assert failed.returncode == 1
    assert "not JSON" in failed.stderr
    assert "untouched" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert json.loads(prices("status", "--json", home=mine).stdout) == status


def test_refresh_of_an_unknown_cloud_is_a_usage_error(prices: Callable[..., Done]) -> None:
    done = prices("refresh", "--cloud", "ibm")
    assert done.returncode == 2
    assert "aws, azure, gcp" in done.stderr


def test_gcp_without_credentials_says_what_to_do(
    prices: Callable[..., Done], tmp_path: Path
) -> None:
    done = prices("refresh", "--cloud", "gcp", home=tmp_path, HOME=str(tmp_path),
                  NO_GCE_CHECK="true")  # fmt: skip
    assert done.returncode == 1
    assert "MLBROKER_GCP_API_KEY" in done.stderr


def test_quotas_are_shown(prices: Callable[..., Done], tmp_path: Path) -> None:
    done = prices("quotas", "--json", home=tmp_path)
    assert json.loads(done.stdout)["quotas"] == []
    refused = prices("quotas", "--refresh", "--cloud", "aws", home=tmp_path, HOME=str(tmp_path),
                     AWS_EC2_METADATA_DISABLED="true")  # fmt: skip
    assert refused.returncode == 1
    assert "no AWS credentials" in refused.stderr
