"""Machine types of the embedded book: equal hardware listed once, retirement judged."""

import re
from dataclasses import dataclass
from typing import Any

from scripts.price_book.tables import Row, iso_day

# A vendor that no longer describes a type will not start it, and a price list's name that the
# vendor's own list of sizes does not know cannot be asked for: neither is recommended.
NOT_LAUNCHABLE = ("not_described", "not_in_known_skus")


@dataclass(frozen=True, slots=True)
class Catalog:
    """`types` rows refer to `hardware` by index, `hardware` rows to `gpus` by index."""

    gpus: list[list[Any]]
    hardware: list[list[Any]]
    types: list[list[Any]]
    ids: dict[tuple[str, str], int]


def hardware_catalog(types: list[Row], gpu_sheet: list[Row], sources: list[str]) -> Catalog:
    """Every type in order of cloud and name, with shared hardware and GPU rows."""
    sheet = {row["gpu_model"]: row for row in gpu_sheet}
    ordered = sorted(types, key=lambda row: (row["cloud"], row["instance_type"]))
    gpus = sorted({_gpu(row, sheet) for row in ordered if row["gpu_model"]})
    gpu_ids = {(gpu[0], gpu[1]): index for index, gpu in enumerate(gpus)}
    hardware_ids: dict[tuple[Any, ...], int] = {}
    type_rows: list[list[Any]] = []
    for row in ordered:
        gpu = _gpu(row, sheet)[:2] if row["gpu_model"] else None
        facts = (
            row["vcpus"],
            row["memory_gib"],
            row["arch"],
            row["cpu"],
            gpu_ids[gpu] if gpu else None,
            row["gpu_count"],
            row["burstable"],
            row["bare_metal"],
            row["local_disk_gib"],
            row["network_gbps"],
        )
        hardware_id = hardware_ids.setdefault(facts, len(hardware_ids))
        type_rows.append(
            [
                row["cloud"],
                row["instance_type"],
                hardware_id,
                row["lifecycle"],
                retired_from(row["lifecycle"]),
                sources.index(row["source"]),
                iso_day(row["as_of"]),
            ]
        )
    ids = {(row[0], row[1]): index for index, row in enumerate(type_rows)}
    return Catalog([list(gpu) for gpu in gpus], [list(h) for h in hardware_ids], type_rows, ids)


def retired_from(lifecycle: str) -> str | None:
    """The first day on which the type should not be recommended, None for types on sale."""
    if lifecycle.startswith(NOT_LAUNCHABLE):
        return "1970-01-01"
    match = re.match(r"retired? (\S+)$", lifecycle)
    return iso_day(match[1]) if match else None


def _gpu(row: Row, sheet: dict[str, Row]) -> tuple[Any, ...]:
    """The GPU as the cloud sells it, with the data sheet's peaks.

    Cloud and data sheet differ on the memory of a few models: the smaller figure holds.
    """
    facts = sheet[row["gpu_model"]]
    count = row["gpu_count"]
    # Of a shared GPU the clouds state the slice's memory, of a whole one each GPU's.
    stated = row["gpu_memory_gib"] / count if count < 1 else row["gpu_memory_gib"]
    listed = float(facts["memory_gib"])
    memory = listed if stated > listed * 0.99 else round(stated, 2)
    return (
        row["gpu_model"],
        memory,
        facts["fp32_tflops"],
        facts["tensor_tflops_dense"],
        facts["mem_bandwidth_gbs"],
        facts["tdp_w"],
    )
