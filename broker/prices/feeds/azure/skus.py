"""Azure's Resource SKUs as hardware of the book."""

from collections.abc import Iterable, Mapping
from typing import Any

from mlbroker.broker.prices.records import TypeRecord


def type_records(skus: Iterable[Mapping[str, Any]], day: int) -> list[TypeRecord]:
    """Every machine size once; the list has it for each region.

    A size that the subscription may not use in any region is left out.
    """
    rows: dict[str, TypeRecord] = {}
    for sku in skus:
        if sku.get("resourceType") != "virtualMachines" or sku["name"] in rows:
            continue
        if any(limit.get("type") == "Location" for limit in sku.get("restrictions") or ()):
            continue
        rows[sku["name"]] = _row(sku, day)
    return list(rows.values())


def _row(sku: Mapping[str, Any], day: int) -> TypeRecord:
    facts = {entry["name"]: entry["value"] for entry in sku.get("capabilities") or ()}
    # Constrained sizes state their parent's vCPUs and, beside it, those they really have.
    vcpus = float(facts.get("vCPUsAvailable") or facts["vCPUs"])
    gpus = float(facts.get("GPUs", 0))
    disk = facts.get("NvmeDiskSizeInMiB") or facts.get("MaxResourceVolumeMB") or 0
    hardware = (
        vcpus,
        float(facts["MemoryGB"]),
        "arm64" if facts.get("CpuArchitectureType") == "Arm64" else "x86_64",
        None,
        # Which GPU it is, Azure does not say: the machine is known to have some, no more.
        ("unknown", 0.0) if gpus else None,
        gpus,
        sku["name"].startswith("Standard_B"),
        False,
        round(float(disk) / 1024, 1),
        None,
    )
    return TypeRecord("azure", sku["name"], hardware, day, "azure-resource-skus")
