"""What an agent tells of its machine, as Hardware."""

from collections.abc import Mapping
from typing import Any

from mlbroker.pricing.offer import Gpu, Hardware

# Names of nvidia-smi and of the price book differ in dressing only.
_DRESSING = ("NVIDIA ", "Tesla ", "GeForce ", "Quadro ", " GPU")


def hardware(machine: Mapping[str, Any], cores: int | None = None) -> Hardware:
    """The machine, or `cores` of it."""
    gpus = machine.get("gpus") or []
    gpu = None
    if gpus:
        model = str(gpus[0]["model"])
        for word in _DRESSING:
            model = model.replace(word, "")
        gpu = Gpu(model.strip(), float(gpus[0]["memory_gib"]))
    return Hardware(
        vcpus=float(cores or machine["vcpus"]),
        memory_gib=round(float(machine.get("memory_gib") or 0.0), 2),
        arch=str(machine["arch"]),
        cpu=machine.get("cpu"),
        gpu=gpu,
        gpu_count=len(gpus),
    )
