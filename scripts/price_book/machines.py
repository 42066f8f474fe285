"""Make the measured facts of machine types from a folder of normalised price tables.

    python -m scripts.price_book.machines FOLDER [--into pricing/data]

Derived from the Spare Cores Inspector data, CC BY-SA 4.0, and so is what is made here (see NOTICE):
a row for every type of FOLDER that was measured, or is like one that was, and the speed of one core
of each kind of processor. One run on one machine is a lottery, so speeds are those of the
kind, over all its machines.
"""

import argparse
import csv
import io
import lzma
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from scripts.price_book.tables import Row, read_table

from mlbroker.broker.prices import machines
from mlbroker.profiles.transfer.space import family

# What the book calls a processor that is told apart here, but not in the figures of power.
BOOK_NAMES = {"Axion N3": "Axion"}


def rows(types: Iterable[Row], benchmarks: Iterable[Row]) -> list[tuple[object, ...]]:
    """In the order of cloud and name, with the `machines.COLUMNS`.

    A type that was not measured takes after the size nearest to it of its family, else of those of
    its cloud with the processor that the vendor states.
    """
    measured = {(row["cloud"], row["instance_type"]): row for row in benchmarks}
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in measured.values():
        groups[row["cloud"], family(row["instance_type"])].append(row)
        groups[row["cloud"], "", row["cpu"]].append(row)
    found = []
    for row in sorted(types, key=lambda row: (row["cloud"], row["instance_type"])):
        cloud, name = row["cloud"], row["instance_type"]
        like = measured.get((cloud, name))
        sisters = groups.get((cloud, family(name))) or groups.get((cloud, "", row["cpu"]))
        if like is None and sisters:
            like = min(sisters, key=lambda other: _apart(other, row))
        if like is not None:
            threads, sockets = (like[key] and int(like[key]) for key in machines.COLUMNS[3:])
            cpu = BOOK_NAMES.get(like["cpu"], like["cpu"])
            found.append((cloud, name, cpu, threads, sockets))
    return found


def _apart(other: Row, row: Row) -> tuple[float, str]:
    return abs(math.log(other["vcpus"] / row["vcpus"])), other["instance_type"]


def table(head: Sequence[str], content: Iterable[Sequence[object]]) -> bytes:
    """As CSV; what is not known is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *content])
    return text.getvalue().encode()


def main() -> None:
    """Command line of the builder."""
    parser = argparse.ArgumentParser(description="Make the measured facts of machine types.")
    parser.add_argument("folder", type=Path, help="folder with the normalised price tables")
    parser.add_argument("--into", type=Path, default=Path("pricing/data"))
    arguments = parser.parse_args()
    types = read_table(arguments.folder, "instance_types.parquet")
    found = rows(types, read_table(arguments.folder / "hardware", "hardware_benchmarks.csv"))
    packed = lzma.compress(table(machines.COLUMNS, found), preset=9 | lzma.PRESET_EXTREME)
    (arguments.into / machines.DATA).write_bytes(packed)
    kinds = read_table(arguments.folder / "hardware", "cpu_speed.csv")
    speeds = [(row["cpu"], row["speed"]) for row in kinds if row["cpu"] not in BOOK_NAMES]
    (arguments.into / machines.SPEEDS).write_bytes(table(("cpu", "speed"), speeds))
    print(f"{len(found):,} types, {len(packed) / 1e3:.0f} kB")  # a developer's one line of result


if __name__ == "__main__":
    main()
