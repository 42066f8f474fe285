"""Measured facts of machine types that ship inside the package, in files of their own licence.

`pricing/data/machines.csv.xz` and `core_speed.csv` are derived from the Spare Cores Inspector data
and are CC BY-SA 4.0 (see NOTICE); the price book beside them is not. Read only when an index is
built.
"""

import csv
import lzma
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mlbroker.pricing import offer

FOLDER = Path(offer.__file__).parent / "data"
DATA = "machines.csv.xz"
SPEEDS = "core_speed.csv"


class Machine(NamedTuple):
    """What was found on a machine type; fields as in `Hardware`. None: not known."""

    cpu: str | None
    threads_per_core: int | None
    sockets: int | None


COLUMNS = ("cloud", "instance_type", *Machine._fields)
UNMEASURED = Machine(None, None, None)


def of_type(cloud: str, name: str) -> Machine:
    """Of a machine with attached GPUs ("n1-standard-4+nvidia-tesla-t4:1"), that of the machine."""
    return _machines().get((cloud, name.partition("+")[0]), UNMEASURED)


@cache
def core_speeds() -> dict[str, float]:
    """Speed of one core of each kind of processor, as `Hardware.core_speed` has it."""
    lines = (FOLDER / SPEEDS).read_text("utf-8").splitlines()
    return {row["cpu"]: float(row["speed"]) for row in csv.DictReader(lines)}


@cache
def _machines() -> dict[tuple[str, str], Machine]:
    lines = lzma.decompress((FOLDER / DATA).read_bytes()).decode().splitlines()
    return {
        (row["cloud"], row["instance_type"]): Machine(
            row["cpu"] or None,
            int(row["threads_per_core"] or 0) or None,
            int(row["sockets"] or 0) or None,
        )
        for row in csv.DictReader(lines)
    }
