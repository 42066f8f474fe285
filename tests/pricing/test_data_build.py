"""Building the embedded book: the same tables give the same bytes, odd tables are refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scripts.price_book.hardware import retired_from
from scripts.price_book.machines import rows as machine_rows
from scripts.price_book.make import build, write
from scripts.price_book.tables import iso_day


def _type(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "cloud": "gcp", "instance_type": name, "vcpus": 4.0, "memory_gib": 15.0, "arch": "x86_64",
        "cpu": "Skylake", "gpu_model": None, "gpu_count": 0.0, "gpu_memory_gib": None,
        "local_disk_gib": 0.0, "network_gbps": None, "burstable": False, "bare_metal": False,
        "lifecycle": "current", "as_of": "2026-08-17", "source": "list",
    } | changes  # fmt: skip


def _offer(name: str, market: str, price: float) -> dict[str, Any]:
    return {
        "cloud": "gcp", "region": "us-central1", "instance_type": name, "market": market,
        "price_per_hour_usd": price, "as_of": "2026-07-30", "source": "list", "stale": False,
    }  # fmt: skip


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with every table in small."""
    folder = tmp_path / "tables"
    folder.mkdir()
    pd.DataFrame(
        [
            _type("n1-standard-4"),
            _type("n1-standard-32", vcpus=32.0, memory_gib=120.0),
            _type("e2-standard-4", cpu=None),
        ]
    ).to_parquet(folder / "instance_types.parquet")
    pd.DataFrame(
        [
            _offer("n1-standard-4", "on_demand", 0.19),
            _offer("n1-standard-4", "spot", 0.1 + 0.2),
            _offer("n1-standard-32", "on_demand", 1.52),
            _offer("e2-standard-4", "on_demand", 0.134),
        ]
    ).to_parquet(folder / "offers.parquet")
    pd.DataFrame(
        [
            {
                "cloud": "gcp", "region": region, "accelerator": "nvidia-tesla-v100",
                "gpu_model": "V100-16GB", "market": "on_demand", "usd_per_gpu_hour": 2.48,
                "as_of": "2025 (undated)", "source": "catalog",
            }
            for region in ("us-central1", "us-west1")
        ]
    ).to_parquet(folder / "gcp_accelerators.parquet")  # fmt: skip
    texts = {
        "gcp_accelerator_rules": "accelerator,gpu_model,gpu_memory_gib,gpu_count,max_n1_vcpus,"
        "max_n1_memory_gib\nnvidia-tesla-v100,V100-16GB,16,1,12,78\n",
        "gpus": "gpu_model,fp32_tflops,tensor_tflops_dense,mem_bandwidth_gbs,memory_gib,tdp_w\n"
        "V100-16GB,15.7,125,900,16,300\n",
        "regions": "cloud,region,country,geography,grid_gco2e_per_kwh,source,year,method,pue\n"
        "gcp,us-central1,USA,us,413.2,grid,2024,published,1.1\n",
        "block_storage": "cloud,region,kind,usd_per_gb_month\n"
        "gcp,us-central1,pd-ssd,0.17\ngcp,us-central1,pd-balanced,0.1\n",
        "public_ipv4": "cloud,region,kind,usd_per_hour\ngcp,*,public-ipv4-vm,0.005\n",
        "egress": "cloud,from_geography,to,usd_per_gb\ngcp,us,internet_premium_tier,0.12\n",
        "egress_internet_by_region": "cloud,region,usd_per_gb\ngcp,us-central1,0.085\n",
        "cpu_power": "cpu,idle_w_per_vcpu,max_w_per_vcpu\n__default__,0.74,3.5\n",
        "spot_interruption": "cloud,region,instance_type,band_low\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_the_same_tables_give_the_same_bytes(tables: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = subprocess.run(
            [
                sys.executable, "-m", "scripts.price_book.make", tables,
                "--into", tmp_path / name,
            ],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "5 offers of 4 types" in done.stdout
    for file in ("book.json.xz", "book.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_order_of_the_rows_does_not_matter(tables: Path, tmp_path: Path) -> None:
    write(build(tables), tmp_path / "one")
    for name in ("offers.parquet", "instance_types.parquet"):
        pd.read_parquet(tables / name).iloc[::-1].to_parquet(tables / name)
    write(build(tables), tmp_path / "two")
    assert (tmp_path / "one/book.json.xz").read_bytes() == (
        tmp_path / "two/book.json.xz"
    ).read_bytes()


def test_prices_lose_the_noise_of_binary_fractions(tables: Path) -> None:
    assert 300_000_000 in build(tables)["offers"]["price_nano_usd"]


def test_gpus_attach_where_both_have_a_price_and_the_rule_allows_it(tables: Path) -> None:
    document = build(tables)
    names = [row[1] for row in document["types"]]
    assert [name for name in names if "+" in name] == ["n1-standard-4+nvidia-tesla-v100:1"]
    assert 190_000_000 + 2_480_000_000 in document["offers"]["price_nano_usd"]
    assert document["offers"]["days"] == ["2025-01-01", "2026-07-30"]


def test_a_price_that_is_none_stops_the_build(tables: Path) -> None:
    frame = pd.read_parquet(tables / "offers.parquet")
    frame.loc[1, "price_per_hour_usd"] = 0.0
    frame.to_parquet(tables / "offers.parquet")
    with pytest.raises(ValueError, match="not a price"):
        build(tables)


@pytest.mark.parametrize(
    ("lifecycle", "day"),
    [
        ("current", None),
        ("previous", None),
        ("listed", None),
        ("current_no_price", None),
        ("retired 2023-09", "2023-09-01"),
        ("retire 2026-09-30", "2026-09-30"),
        ("not_described_2026-10", "1970-01-01"),
        ("not_in_known_skus", "1970-01-01"),
    ],
)
def test_lifecycles(lifecycle: str, day: str | None) -> None:
    assert retired_from(lifecycle) == day


def test_vague_dates_count_from_their_first_day() -> None:
    assert iso_day("2025 (undated)") == "2025-01-01"
    assert iso_day("2024-02 (recalled)") == "2024-02-01"
    with pytest.raises(ValueError, match="no date"):
        iso_day("recently")


def test_a_type_never_measured_takes_after_the_nearest_size_of_its_family_or_processor() -> None:
    def measured(name: str, cpu: str, vcpus: float, sockets: float) -> dict[str, Any]:
        return {
            "cloud": "gcp", "instance_type": name, "cpu": cpu, "vcpus": vcpus,
            "threads_per_core": 2.0, "sockets": sockets,
        }  # fmt: skip

    types = [
        _type("n2-standard-4", cpu="Ice Lake"),
        _type("n2-standard-8", vcpus=8.0, cpu="Ice Lake"),
        _type("n2-standard-96", vcpus=96.0, cpu="Ice Lake"),
        _type("n1-standard-4"),
        _type("t2d-standard-4", cpu="EPYC 3rd Gen"),
    ]
    benchmarks = [
        measured("n2-standard-4", "Cascade Lake", 4.0, 1.0),
        measured("n2-standard-128", "Ice Lake", 128.0, 2.0),
        measured("m1-megamem-96", "Skylake", 96.0, 4.0),
    ]
    assert machine_rows(types, benchmarks) == [
        ("gcp", "n1-standard-4", "Skylake", 2, 4),
        ("gcp", "n2-standard-4", "Cascade Lake", 2, 1),
        ("gcp", "n2-standard-8", "Cascade Lake", 2, 1),
        ("gcp", "n2-standard-96", "Ice Lake", 2, 2),
    ]
