"""A user's file of prices: what is taken, what is left out, and what the user is told."""

import gzip
import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.broker.errors import InputError
from mlbroker.broker.prices import browse
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.prices.price_file import COLUMNS, PriceFile
from mlbroker.pricing.price_units import nano_from_usd, usd_from_nano

HEADER = ",".join(COLUMNS)
GOOD = "aws,us-east-1,g5.xlarge,on_demand,1.01,2026-11-01,mine,false"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_file_stands_in_for_the_book_and_hardware_is_still_known(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.csv",
        HEADER,
        GOOD,
        "aws,moon-1,g5.xlarge,spot,0.2,2026-11-02,mine,true",
        "acme,moon-1,warp9,on_demand,5,2026-11-03,mine,false",
    )
    book = open_book(tmp_path / "home", path, today=date(2026, 11, 24))
    assert book.snapshot.offers == 3
    assert book.snapshot.stale_offers == 1
    assert book.snapshot.as_of == {"aws": date(2026, 11, 2), "acme": date(2026, 11, 3)}
    types = {(t.cloud, t.name): (type_id, t) for type_id, _, t in book.types()}
    regions = {(r.cloud, r.name): (region_id, r) for region_id, r in book.regions().items()}
    hardware = types["aws", "g5.xlarge"][1].hardware
    assert hardware.gpu is not None
    assert hardware.gpu.model == "A10G"
    unknown = types["acme", "warp9"][1].hardware
    assert (unknown.vcpus, unknown.memory_gib, unknown.arch) == (0, 0, "unknown")
    moon = regions["aws", "moon-1"][1]
    assert moon.grid_kgco2e_per_kwh is None
    assert moon.disk_usd_per_gb_month is None
    offer = book.offer(types["aws", "g5.xlarge"][0], 1, regions["aws", "moon-1"][0])
    assert offer.price_per_hour_usd == Decimal("0.2")
    assert offer.source == "mine"
    assert offer.stale


@pytest.mark.parametrize(
    "price", ["0", "0.0", "-1", "nan", "NaN", "inf", "-inf", "", "free", "1e9"]
)
def test_a_dishonest_price_is_never_offered_and_is_reported(tmp_path: Path, price: str) -> None:
    path = write(
        tmp_path / "p.csv",
        HEADER,
        GOOD,
        f"aws,us-west-2,g5.xlarge,on_demand,{price},2026-11-01,mine,false",
    )
    book = open_book(tmp_path / "home", path)
    assert [row.region for row in browse.prices(book)] == ["us-east-1"]
    (notice,) = book.notices
    assert "1 of 2 rows" in notice
    assert "line 3" in notice
    # The second call finds the index made: it must warn all the same.
    assert open_book(tmp_path / "home", path).notices == [notice]


def test_a_price_far_from_the_other_regions_is_kept_out(tmp_path: Path) -> None:
    rows = [
        f"aws,r{n},g5.xlarge,on_demand,{price},2026-11-01,mine,false"
        for n, price in enumerate(["1.0", "1.1", "1.2", "0.9", "0.01", "90"])
    ]
    book = open_book(tmp_path / "home", write(tmp_path / "p.csv", HEADER, *rows))
    assert {row.region for row in browse.prices(book)} == {"r0", "r1", "r2", "r3"}
    assert {odd.price.region for odd in browse.odd_prices(book)} == {"r4", "r5"}
    assert all(book.regions()[row[2]].name not in ("r4", "r5") for row in book.price_rows(1))
    assert any("prices verify" in notice for notice in book.notices)


def test_with_few_regions_nothing_can_be_called_odd(tmp_path: Path) -> None:
    rows = [
        f"aws,r{n},g5.xlarge,on_demand,{price},2026-11-01,mine,false"
        for n, price in enumerate(["1.0", "0.01", "1.1"])
    ]
    book = open_book(tmp_path / "home", write(tmp_path / "p.csv", HEADER, *rows))
    assert book.snapshot.offers == 3


def test_the_last_row_for_an_offer_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", HEADER, GOOD, GOOD.replace("1.01", "2.02"))
    (row,) = browse.prices(open_book(tmp_path / "home", path))
    assert row.price_per_hour_usd == Decimal("2.02")


def test_optional_columns_may_be_absent_and_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", ",".join(COLUMNS[:5]), "aws,us-east-1,m5.large,spot,0.04")
    os.utime(path, (1_790_000_000, 1_790_000_000))
    book = open_book(tmp_path / "home", path)
    (row,) = browse.prices(book)
    assert row.as_of == date.fromtimestamp(1_790_000_000)
    assert row.source == "p.csv"
    assert {"as_of" in n or "source" in n for n in book.notices} == {True}
    assert len(book.notices) == 2


def test_gzip_and_parquet_say_the_same_as_csv(tmp_path: Path) -> None:
    lines = [HEADER, GOOD, "gcp,us-central1,n1-standard-4,spot,0.041,2026-11-02,mine,true"]
    plain = write(tmp_path / "p.csv", *lines)
    packed = tmp_path / "p.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    parquet = tmp_path / "p.parquet"
    pd.read_csv(plain, parse_dates=["as_of"]).to_parquet(parquet)
    expected = list(browse.prices(open_book(tmp_path / "home", plain)))
    assert len(expected) == 2
    for other in (packed, parquet):
        assert list(browse.prices(open_book(tmp_path / "home", other))) == expected


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", HEADER, GOOD)
    assert open_book(tmp_path / "home", path).snapshot.offers == 1
    write(path, HEADER, GOOD, GOOD.replace("us-east-1", "us-west-2"))
    assert open_book(tmp_path / "home", path).snapshot.offers == 2


def test_old_file_indexes_are_cleared_away(tmp_path: Path) -> None:
    for number in range(7):
        path = write(tmp_path / f"{number}.csv", HEADER, GOOD)
        open_book(tmp_path / "home", path).close()
    assert len(list((tmp_path / "home" / "prices").glob("file-*.sqlite"))) == 4


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no column"),
        (b"a,b\n1,2\n", "no column cloud"),
        (HEADER.encode() + b"\n", "no usable price"),
        (HEADER.encode() + b"\naws,r,t,on_demand,0,2026-01-01,s,false\n", "no usable price"),
        (b"\xff\xfe\x00", "cannot be read"),
        (HEADER.encode() + b"\n" + b"x" * 300_000 + b"\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_of_prices_is_refused_by_name(
    tmp_path: Path, content: bytes, what: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what) as refused:
        open_book(tmp_path / "home", path)
    assert refused.value.where == str(path)
    assert not list((tmp_path / "home" / "prices").glob("*.building"))


def test_a_truncated_gzip_and_a_false_parquet_are_refused(tmp_path: Path) -> None:
    packed = tmp_path / "p.csv.gz"
    packed.write_bytes(gzip.compress((HEADER + "\n" + GOOD).encode())[:-9])
    parquet = tmp_path / "p.parquet"
    parquet.write_bytes(b"PAR1 but not really")
    for path in (packed, parquet):
        with pytest.raises(InputError, match="cannot be read"):
            open_book(tmp_path / "home", path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent.csv", tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError):
            open_book(tmp_path / "home", path)


@given(st.integers(min_value=1, max_value=10**14))
def test_nano_dollars_survive_the_way_through_text(nano: int) -> None:
    assert nano_from_usd(usd_from_nano(nano)) == nano
    assert nano_from_usd(f"{usd_from_nano(nano):f}") == nano


@settings(max_examples=300)
@given(st.text(max_size=20))
def test_any_text_is_a_positive_price_or_none(text: str) -> None:
    price = nano_from_usd(text)
    assert price is None or price > 0


@settings(max_examples=100)
@given(st.lists(st.lists(st.text(max_size=8), max_size=10), max_size=8))
def test_any_table_is_read_or_counted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    import csv

    path = tmp_path_factory.mktemp("any") / "p.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    source = PriceFile(path)
    try:
        taken = list(source.rows())
    except InputError:
        return
    assert len(taken) == source.accepted
    assert all(row.price_nano_usd > 0 for row in taken)
