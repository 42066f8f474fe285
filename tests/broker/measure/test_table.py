"""Measurements tables: what is read, and how a bad cell is named."""

import gzip
import io
from dataclasses import fields
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from time import process_time

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.columns import FIELDS
from mlbroker.broker.measure.table import read_measurements, write_measurements
from mlbroker.pricing.offer import Gpu, Hardware, Market
from mlbroker.profiles.measurement import Measurement, Status

HEADER = "job,config,time_s,price_per_hour_usd"


def table(tmp_path: Path, *lines: str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_field_of_a_measurement_is_a_column_in_its_order() -> None:
    names = [field.name for field in fields(Measurement)]
    assert [*FIELDS, "doubt_log", "version"] == names, "what the job as it is now tells is not kept"


def test_all_columns_of_the_contract_are_read(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        f"{HEADER},group,cloud,region,instance_type,nodes,market,batch_size,steps,status,rep,spec_x",
        "j,c,1.5,0.25,g,aws,us-east-1,m5.large,2,spot,32,100,failed,3,7.5",
    )
    assert read_measurements(path) == [
        Measurement(
            job="j",
            config="c",
            time_s=1.5,
            price_per_hour_usd=Decimal("0.25"),
            group="g",
            cloud="aws",
            region="us-east-1",
            instance_type="m5.large",
            nodes=2,
            market=Market.SPOT,
            batch_size=32,
            steps=100,
            status=Status.FAILED,
            rep=3,
            features={"x": 7.5},
        )
    ]


def test_an_empty_feature_is_missing_and_not_zero(tmp_path: Path) -> None:
    rows = read_measurements(table(tmp_path, f"{HEADER},spec_a,spec_b", "j,c,1,1,,2"))
    assert rows[0].features == {"b": 2.0}


def test_gzip_byte_order_mark_and_blank_lines_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(f"\ufeff{HEADER}\r\n\r\nj,c,1,2\r\n".encode()))
    assert len(read_measurements(path)) == 1


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pandas.DataFrame(
        {
            "job": ["a", "b"],
            "config": ["x", "y"],
            "time_s": [1.5, 2.0],
            "price_per_hour_usd": [0.1, 0.2],
            "steps": [10.0, None],
            "spec_v": [1, 2],
        }
    )
    frame.to_parquet(path)
    rows = read_measurements(path)
    assert [(m.job, m.time_s, m.steps) for m in rows] == [("a", 1.5, 10), ("b", 2.0, None)]
    assert rows[0].price_per_hour_usd == Decimal("0.1")


def test_unknown_columns_are_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    path = table(tmp_path, f"{HEADER},colour,mood", "j,c,1,1,red,good", "j,d,1,1,red,good")
    read_measurements(path, report=said.append)
    assert len(said) == 1
    assert "colour, mood" in said[0]


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["job,config,time_s", "j,c,1"], "line 1", "price_per_hour_usd is missing"),
        (["a,b"], "line 1", "job, config, time_s, price_per_hour_usd are missing"),
        ([HEADER], "", "no rows"),
        ([HEADER + ",job", "j,c,1,1,j"], "line 1", "more than once"),
        ([HEADER, "j,c,1,1", "j,c,1"], "line 3", "3 cells"),
        ([HEADER, "j,c,fast,1"], "line 2, column time_s", "not a number"),
        ([HEADER, "j,c,nan,1"], "line 2, column time_s", "not a number"),
        ([HEADER, "j,c,inf,1"], "line 2, column time_s", "not a number"),
        ([HEADER, "j,c,1_0,1"], "line 2, column time_s", "not a number"),
        ([HEADER, "j,c,0,1"], "line 2, column time_s", "not above zero"),
        ([HEADER, "j,c,-1,1"], "line 2, column time_s", "not above zero"),
        ([HEADER, "j,c,,1"], "line 2", "time_s is empty"),
        ([HEADER, ",c,1,1"], "line 2", "job is empty"),
        ([HEADER, "j,c,1,0"], "line 2, column price_per_hour_usd", "not above zero"),
        ([HEADER, "j,c,1,"], "line 2", "price_per_hour_usd is empty"),
        ([HEADER + ",status", "j,c,1,1,meh"], "line 2, column status", "no status"),
        ([HEADER + ",market", "j,c,1,1,meh"], "line 2, column market", "no market"),
        ([HEADER + ",nodes", "j,c,1,1,1.5"], "line 2, column nodes", "whole"),
        ([HEADER + ",steps", "j,c,1,1,0"], "line 2, column steps", "above zero"),
        ([HEADER + ",spec_a", "j,c,1,1,big"], "line 2, column spec_a", "not a number"),
        ([HEADER + ",measured_at", "j,c,1,1,2026-01-01"], "column measured_at", "time zone"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(
    tmp_path: Path, lines: list[str], where: str, what: str
) -> None:
    with pytest.raises(InputError, match=what) as caught:
        read_measurements(table(tmp_path, *lines))
    assert where in str(caught.value.where)
    assert "t.csv" in str(caught.value.where)


def test_a_price_may_be_missing_where_the_price_book_knows_it(tmp_path: Path) -> None:
    path = table(tmp_path, f"{HEADER},cloud,instance_type", "j,c,1,,aws,m5.large")
    assert read_measurements(path)[0].price_per_hour_usd is None


def test_what_was_measured_here_has_no_price_and_reads_back(tmp_path: Path) -> None:
    path = table(tmp_path, f"{HEADER},cloud", "j,local-2cpu,1,,local")
    [row] = read_measurements(path)
    assert (row.cloud, row.price_per_hour_usd) == ("local", None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"\xff\xfe\x00"),
        ("a.csv", b'job,config,time_s,price_per_hour_usd\n"j,c,1,1\n'),
        ("a.csv.gz", b"not gzip"),
        ("a.csv.gz", gzip.compress(b"job,config\n" * 1000, mtime=0)[:-8]),
        ("a.parquet", b"not parquet"),
    ],
)
def test_damaged_files_are_input_errors(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_measurements(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_measurements(tmp_path / "none.csv")
    with pytest.raises(InputError, match="regular file"):
        read_measurements(tmp_path)


names = st.text("abcDEF_- ,\"'é", min_size=1).map(str.strip).filter(bool)
positive = st.floats(1e-9, 1e9)
measurements = st.builds(
    Measurement,
    job=names,
    config=names,
    time_s=positive,
    price_per_hour_usd=st.decimals("0.0001", "999", places=4),
    steps=st.none() | st.integers(1, 10**9),
    status=st.sampled_from(Status),
    features=st.dictionaries(st.sampled_from("abc"), st.floats(-1e9, 1e9), max_size=3),
    hardware=st.none()
    | st.builds(
        Hardware,
        vcpus=positive,
        memory_gib=positive,
        arch=st.just("arm64"),
        cpu=st.none() | st.just("Graviton3"),
        gpu=st.none()
        | st.builds(
            Gpu,
            model=st.just("L4"),
            memory_gib=positive,
            fp32_tflops=st.none() | positive,
            tensor_tflops=st.none() | positive,
            memory_bandwidth_gb_per_s=st.none() | positive,
            tdp_w=st.none() | positive,
        ),
        gpu_count=st.floats(0, 16),
        burstable=st.booleans(),
        bare_metal=st.booleans(),
        local_disk_gib=st.none() | positive,
        network_gbps=st.none() | positive,
        core_speed=st.none() | positive,
        threads_per_core=st.none() | st.integers(1, 8),
        sockets=st.none() | st.integers(1, 8),
    ),
    overhead_s=st.floats(0, 1e6),
    gpu_used=st.none() | st.booleans(),
    measured_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    extra=st.dictionaries(names, names, max_size=2),
)


@given(st.lists(measurements, min_size=1, max_size=5))
def test_an_exported_table_reads_back_equal(tmp_path_factory, rows: list[Measurement]) -> None:
    file = io.StringIO()
    write_measurements(rows, file)
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(file.getvalue())
    assert read_measurements(path) == rows


def test_ten_times_the_rows_take_about_ten_times_as_long(tmp_path: Path) -> None:
    paths = {}
    for count in (3_000, 30_000):
        rows = [
            Measurement("j", f"c{i}", 1.0 + i, Decimal("0.1"), features={"a": float(i)})
            for i in range(count)
        ]
        paths[count] = tmp_path / f"{count}.csv"
        with paths[count].open("w") as file:
            write_measurements(rows, file)

    def reading_s(count: int) -> float:
        started = process_time()
        assert len(read_measurements(paths[count])) == count
        return process_time() - started

    # Taken in turn, so that a slow moment of the machine is one of both.
    taken = [(reading_s(3_000), reading_s(30_000)) for _ in range(3)]
    few, many = map(min, zip(*taken, strict=True))
    assert many < 25 * few
