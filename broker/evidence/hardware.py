"""A machine's own account of itself, as the hardware that step times are compared by."""

import re
from collections.abc import Mapping
from typing import Any

from mlbroker.broker.guest.machine import usable_cores
from mlbroker.pricing.gpu_names import gpu_model
from mlbroker.pricing.offer import Gpu, Hardware

# nvidia-smi says "NVIDIA A100-SXM4-40GB" and "Tesla T4" where the price book says "A100-40GB"
# and "T4".
_DRESSING = re.compile(
    r"NVIDIA |Tesla |GeForce |Quadro |-SXM\d|-PCIE| HBM\d\w?|-HBM\d\w?", re.IGNORECASE
)


def hardware(machine: Mapping[str, Any], cores: int | None = None) -> Hardware:
    """The machine as its agent tells of it, or `cores` of it."""
    gpus = machine.get("gpus") or []
    gpu = Gpu(gpu_name(gpus[0]["model"]), float(gpus[0]["memory_gib"])) if gpus else None
    return Hardware(
        vcpus=float(cores or machine["vcpus"]),
        memory_gib=round(float(machine.get("memory_gib") or 0.0), 2),
        arch=str(machine["arch"]),
        cpu=machine.get("cpu"),
        gpu=gpu,
        gpu_count=len(gpus),
    )


def local_config(vcpus: int) -> str:
    """What measurements on this machine are kept under."""
    return f"local-{vcpus}cpu"


def this_machine() -> str:
    """The same of all cores that a process may use here."""
    return local_config(usable_cores())


def gpu_name(told: str) -> str:
    """The price book's name of a GPU, else its own without the dressing."""
    plain = _DRESSING.sub("", told).strip()
    words = plain.split()
    for name in (plain, "-".join(words), "-".join(words[:2]), "-".join(words[:3]), words[0]):
        if found := gpu_model(name):
            return found
    return plain
