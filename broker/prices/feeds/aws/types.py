"""AWS's description of its machine types, as hardware of the book."""

import re
from typing import Any

from mlbroker.broker.prices.records import TypeRecord

# What DescribeInstanceTypes calls a GPU, where the book's name tells models apart by memory.
_BY_MEMORY = {
    "A100": ((60, "A100-40GB"), (1000, "A100-80GB")),
    "V100": ((20, "V100-16GB"), (1000, "V100-32GB")),
}
_GIB_PER_GB = 1e9 / 2**30


def type_record(described: dict[str, Any], day: int) -> TypeRecord:
    """One entry of DescribeInstanceTypes."""
    processor = described["ProcessorInfo"]["SupportedArchitectures"]
    gpu, gpu_count = _gpu(described)
    storage = described.get("InstanceStorageInfo") or {}
    hardware = (
        float(described["VCpuInfo"]["DefaultVCpus"]),
        described["MemoryInfo"]["SizeInMiB"] / 1024,
        "arm64" if "arm64" in processor else "x86_64",
        None,  # the micro-architecture is not told
        gpu,
        float(gpu_count),
        bool(described.get("BurstablePerformanceSupported")),
        bool(described.get("BareMetal")),
        round(storage.get("TotalSizeInGB", 0) * _GIB_PER_GB, 1),
        _gbps(described.get("NetworkInfo") or {}),
    )
    return TypeRecord("aws", described["InstanceType"], hardware, day, "aws-DescribeInstanceTypes")


def _gpu(described: dict[str, Any]) -> tuple[tuple[str, float] | None, int]:
    gpus = (described.get("GpuInfo") or {}).get("Gpus") or []
    if not gpus:
        return None, 0
    gpu = gpus[0]
    memory = (gpu.get("MemoryInfo") or {}).get("SizeInMiB", 0) / 1024
    name = str(gpu["Name"])
    for limit, model in _BY_MEMORY.get(name, ()):
        if memory < limit:
            name = model
            break
    return (name, round(memory, 2)), int(gpu.get("Count", 1))


def _gbps(network: dict[str, Any]) -> float | None:
    cards = [card.get("PeakBandwidthInGbps") for card in network.get("NetworkCards") or []]
    if cards and all(isinstance(card, int | float) for card in cards):
        return float(sum(cards))
    found = re.fullmatch(r"(?:Up to )?([0-9.]+) Gigabit", network.get("NetworkPerformance") or "")
    return float(found[1]) if found else None
