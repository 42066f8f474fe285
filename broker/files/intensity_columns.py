"""The columns of files that tell a grid's carbon intensity: which is what, and in which unit.

- Electricity Maps' CSV downloads: `Datetime (UTC)`, `Zone id` (`Zone Id` in older ones), `Carbon
  intensity gCO₂eq/kWh (direct)` and `… (Life cycle)`, `… (LCA)` in older ones. A moment is the
  beginning of its hour.
- WattTime's: `point_time` (its API v3 and Python client) with `value` in the units that its
  `units` or `signal_type` name, lbs of CO2 per MWh where they name none; before, `timestamp` with
  `MOER`. `co2_moer` is marginal, `co2_aoer` average. The zone is `region`, before that `ba`.
- A plain one: `time`, `zone`, `gco2e_per_kwh`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.policies.intensity import Signal

# One international avoirdupois pound, by definition; a MWh is a thousand kWh.
KG_PER_LB = 0.45359237
_LBS_PER_MWH = KG_PER_LB / 1000
_KG_OF_UNIT = {"lbs_co2_per_mwh": _LBS_PER_MWH, "gco2e_per_kwh": 1e-3, "kgco2e_per_mwh": 1e-3}
_SIGNALS = {"co2_moer": Signal.MARGINAL, "co2_aoer": Signal.AVERAGE}
_KNOWN = (
    "known are Electricity Maps' (Datetime (UTC), Zone id, Carbon intensity gCO₂eq/kWh (direct)),"
    " WattTime's (point_time, value) and time,zone,gco2e_per_kwh"
)


class Columns(NamedTuple):
    """Where in a row what stands. `in_utc`: times without an offset are UTC, as the heading says.

    `kg_per_unit` turns a value into kgCO2e per kWh; `unit` and `told` are cells that may
    say otherwise of unit and signal. `assumed` tells what the file leaves open.
    """

    time: int
    value: int
    zone: int | None
    in_utc: bool
    signal: Signal
    kg_per_unit: float
    unit: int | None = None
    told: int | None = None
    assumed: str | None = None


def columns_of(names: Sequence[str], where: str) -> Columns:
    """What the headings are. InputError of those of no known format."""
    plain = {_plain(name): at for at, name in enumerate(names)}
    for known in (_electricity_maps, _watttime, _own):
        found = known(plain)
        if found is not None:
            return found
    raise InputError("the columns are of no known intensity file", where=where, hint=_KNOWN)


def checked(columns: Columns, unit: str, told: str, where: str) -> Columns:
    """The columns, with what the first row says of unit and signal. InputError of other ones."""
    if unit:
        kg = _KG_OF_UNIT.get(_plain(unit).replace("/", "_per_").replace(" ", "_"))
        if kg is None:
            raise InputError(
                f"the unit {quoted(unit)} is not known", where=where,
                hint=f"known are {', '.join(_KG_OF_UNIT)}",
            )  # fmt: skip
        columns = columns._replace(kg_per_unit=kg, assumed=None)
    if told:
        signal = _SIGNALS.get(told.strip().lower())
        if signal is None:
            raise InputError(
                f"the signal {quoted(told)} is no carbon intensity", where=where,
                hint=f"known are {', '.join(_SIGNALS)}",
            )  # fmt: skip
        columns = columns._replace(signal=signal, assumed=None)
    return columns


def _electricity_maps(plain: dict[str, int]) -> Columns | None:
    time = plain.get("datetime (utc)")
    for end, signal in (
        ("(direct)", Signal.AVERAGE_DIRECT),
        ("(life cycle)", Signal.AVERAGE_LIFE_CYCLE),
        ("(lca)", Signal.AVERAGE_LIFE_CYCLE),
    ):
        value = plain.get(f"carbon intensity gco2eq/kwh {end}")
        if time is not None and value is not None:
            return Columns(time, value, plain.get("zone id"), True, signal, 1e-3)
    return None


def _watttime(plain: dict[str, int]) -> Columns | None:
    time = plain.get("point_time", plain.get("timestamp"))
    value = plain.get("value", plain.get("moer"))
    if time is None or value is None:
        return None
    unit, told = plain.get("units"), plain.get("signal_type")
    named = unit is not None or told is not None or "moer" in plain
    return Columns(
        time,
        value,
        plain.get("region", plain.get("ba")),
        False,
        Signal.MARGINAL,
        _LBS_PER_MWH,
        unit,
        told,
        None if named else "WattTime's marginal lbs of CO2 per MWh",
    )


def _own(plain: dict[str, int]) -> Columns | None:
    time, value = plain.get("time"), plain.get("gco2e_per_kwh")
    if time is None or value is None:
        return None
    return Columns(time, value, plain.get("zone"), False, Signal.AVERAGE, 1e-3)


def _plain(name: str) -> str:
    """Without what tells one year's headings from another's."""
    return re.sub(r"\s+", " ", name.strip().lower().replace("₂", "2"))
