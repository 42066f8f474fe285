"""Series of carbon intensity: formats, units, zones of time, gaps, and what is refused."""

import gzip
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.intensity import read_intensity, split_place
from mlbroker.policies.intensity import Intensity, Signal

EM = (
    "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),"
    "Carbon intensity gCO₂eq/kWh (Life cycle),Carbon-free energy percentage (CFE%),"
    "Renewable energy percentage (RE%),Data source,Data estimated,Data estimation method\n"
)
EM_OLD = (
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (LCA),"
    "Low Carbon Percentage\n"
)
START = datetime(2026, 11, 29, tzinfo=UTC).timestamp()


def read(tmp_path: Path, text: str, said: list[str] | None = None) -> list[Intensity]:
    path = tmp_path / "series.csv"
    path.write_text(text, encoding="utf-8")
    return read_intensity(path, [].append if said is None else said.append)


def one(tmp_path: Path, text: str) -> Intensity:
    (series,) = read(tmp_path, text)
    return series


def test_electricity_maps_direct_emissions_in_utc(tmp_path: Path) -> None:
    series = one(
        tmp_path,
        EM + "2026-11-29 00:00:00,Germany,Germany,DE,300.5,360,50,40,x,false,\n"
        "2026-11-29 01:00:00,Germany,Germany,DE,250,300,50,40,x,true,TIME_SLICER_AVERAGE\n",
    )
    assert (series.zone, series.signal, series.step_s) == ("DE", Signal.AVERAGE_DIRECT, 3600)
    assert series.kg_per_kwh == pytest.approx([0.3005, 0.25])
    assert list(series.start_s) == [START, START + 3600]


def test_older_files_of_electricity_maps_tell_the_life_cycle(tmp_path: Path) -> None:
    series = one(
        tmp_path,
        EM_OLD + "2026-11-29 00:00:00,France,France,FR,60,90\n"
        "2026-11-29 01:00:00,France,France,FR,70,90\n",
    )
    assert series.signal is Signal.AVERAGE_LIFE_CYCLE
    assert series.kg_per_kwh == pytest.approx([0.06, 0.07])


def test_watttimes_marginal_pounds_per_megawatt_hour_are_converted_and_said(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    (series,) = read(
        tmp_path,
        "point_time,value,region\n2026-11-29T00:00:00+00:00,1000,CAISO_NORTH\n"
        "2026-11-29T00:05:00+00:00,500,CAISO_NORTH\n",
        said,
    )
    # 1,000 lb are 453.59237 kg, a MWh is 1,000 kWh.
    assert series.kg_per_kwh == pytest.approx([0.45359237, 0.226796185], rel=1e-12)
    assert (series.zone, series.signal, series.step_s) == ("CAISO_NORTH", Signal.MARGINAL, 300)
    assert "lbs of CO2 per MWh" in said[0]


@pytest.mark.parametrize(
    ("text", "signal", "kg"),
    [
        ("timestamp,MOER\n2026-11-29 00:00:00+00:00,466\n2026-11-29 00:05:00+00:00,426\n",
         Signal.MARGINAL, 466 * 0.45359237 / 1000),
        ("point_time,value,units,signal_type,ba\n2026-11-29T00:00Z,900,lbs_co2_per_mwh,co2_moer,A\n"
         "2026-11-29T01:00Z,900,lbs_co2_per_mwh,co2_moer,A\n", Signal.MARGINAL, 0.408233133),
        ("point_time,value,units,signal_type,ba\n2026-11-29T00:00Z,900,lbs_co2_per_mwh,co2_aoer,A\n"
         "2026-11-29T01:00Z,900,lbs_co2_per_mwh,co2_aoer,A\n", Signal.AVERAGE, 0.408233133),
        ("point_time,value,units\n2026-11-29T00:00Z,400,gCO2e/kWh\n"
         "2026-11-29T01:00Z,400,gCO2e/kWh\n", Signal.MARGINAL, 0.4),
    ],
)  # fmt: skip
def test_units_and_signals_that_are_named_need_no_guess(
    tmp_path: Path, text: str, signal: Signal, kg: float
) -> None:
    said: list[str] = []
    (series,) = read(tmp_path, text, said)
    assert series.signal is signal
    assert series.kg_per_kwh[0] == pytest.approx(kg, rel=1e-9)
    assert said == []


def test_offsets_count_and_a_change_of_clocks_is_no_gap(tmp_path: Path) -> None:
    # Berlin, 25 October 2026: 02:00 to 03:00 comes twice.
    series = one(
        tmp_path,
        "time,zone,gco2e_per_kwh\n"
        "2026-10-25T01:00:00+02:00,DE,100\n2026-10-25T02:00:00+02:00,DE,200\n"
        "2026-10-25T02:00:00+01:00,DE,300\n2026-10-25T03:00:00+01:00,DE,400\n",
    )
    assert np.diff(series.start_s) == pytest.approx([3600, 3600, 3600])
    mean = series.means(series.start_s[:1], 4 * 3600)
    assert mean == pytest.approx([0.25])


def test_rows_of_any_order_and_the_same_row_twice(tmp_path: Path) -> None:
    series = one(
        tmp_path,
        "time,zone,gco2e_per_kwh\n2026-11-29T02:00Z,DE,300\n2026-11-29T00:00Z,DE,100\n"
        "2026-11-29T01:00Z,DE,200\n2026-11-29T01:00Z,DE,200\n",
    )
    assert series.kg_per_kwh == pytest.approx([0.1, 0.2, 0.3])


def test_a_row_without_a_value_is_a_gap(tmp_path: Path) -> None:
    rows = "".join(f"2026-11-29T0{h}:00Z,DE,{'' if h == 2 else 100}\n" for h in range(6))
    series = one(tmp_path, "time,zone,gco2e_per_kwh\n" + rows)
    means = series.means(np.array([START, START + 3600, START + 3 * 3600]), 7200)
    assert list(np.isnan(means)) == [False, True, False]


def test_every_zone_of_a_file_is_a_series(tmp_path: Path) -> None:
    rows = "".join(f"2026-11-29T0{h}:00Z,{zone},10{h}\n" for h in range(3) for zone in ("SE", "DE"))
    found = read(tmp_path, "time,zone,gco2e_per_kwh\n" + rows)
    assert [series.zone for series in found] == ["DE", "SE"]
    assert all(len(series.start_s) == 3 for series in found)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no known intensity file"),
        ("a,b\n1,2\n", "no known intensity file"),
        ("time,zone,gco2e_per_kwh\n", "the series is empty"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE,100\n", "one moment is no series"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00,DE,100\n", "no time zone"),
        ("timestamp,MOER\n2026-11-29 00:00:00,500\n", "no time zone"),
        ("time,zone,gco2e_per_kwh\nyesterday,DE,100\n", "not a date and time"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE\n", "cells are missing"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE,many\n", "no grid emits"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE,-1\n", "no grid emits"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE,nan\n", "no grid emits"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE,450000\n", "no grid emits"),
        ("time,zone,gco2e_per_kwh\n2026-11-29T00:00Z,DE,1\n2026-11-29T00:00Z,DE,2\n"
         "2026-11-29T01:00Z,DE,2\n", "two values for 2026-11-29 00:00 UTC"),
        ("time,zone,gco2e_per_kwh\n2026-09-01T00:00Z,DE,1\n2026-10-01T00:00Z,DE,2\n"
         "2026-11-01T00:00Z,DE,2\n", "days apart"),
        ("point_time,value,units\n2026-11-29T00:00Z,55,percentile\n", "the unit 'percentile'"),
        ("point_time,value,signal_type\n2026-11-29T00:00Z,55,health_damage\n",
         "the signal 'health_damage'"),
        ("point_time,value,units\n2026-11-29T00:00Z,900,lbs_co2_per_mwh\n"
         "2026-11-29T01:00Z,400,gco2e_per_kwh\n", "the unit or signal changes"),
    ],
)  # fmt: skip
def test_what_no_series_is_gets_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert what in str(refused.value)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"\x00" * 64, bytes(range(256)) * 9])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "binary.csv"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_intensity(path, [].append)


def test_a_file_with_a_region_and_one_without() -> None:
    assert split_place("aws/us-east-1=a=b.csv") == ("aws/us-east-1", Path("a=b.csv"))
    assert split_place("/data/x=1/de.csv") == (None, Path("/data/x=1/de.csv"))
    assert split_place("de.csv") == (None, Path("de.csv"))


def test_a_million_rows_are_read_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "long.csv.gz"
    first = datetime(2020, 1, 1, tzinfo=UTC)
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.write("time,zone,gco2e_per_kwh\n")
        for day in range(3472):
            at = (first + timedelta(days=day)).strftime("%Y-%m-%dT")
            file.writelines(
                f"{at}{m // 60:02}:{m % 60:02}Z,DE,{m % 500}\n" for m in range(0, 1440, 5)
            )
    began = time.process_time()
    (series,) = read_intensity(path, [].append)
    assert len(series.start_s) == 3472 * 288
    assert time.process_time() - began < 20
