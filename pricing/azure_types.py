"""Azure's sizes that a run could not use as they are sold, which no interface tells beforehand."""

from functools import cache

from mlbroker.pricing.gpu_names import NOT_CUDA
from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import InstanceType

# Confidential machines (AMD SEV-SNP, Intel TDX, NCC) are made with a security type of their own, an
# image made for it, and keys (learn.microsoft.com/azure/confidential-computing/
# virtual-machine-options, 2026-11). DCs_v2 and DCs_v3 have enclaves and are machines like others.
_CONFIDENTIAL = ("Standard_DC", "Standard_EC")
_CONFIDENTIAL_MARKS = ("as_", "ads_", "es_", "eds_")
# Azure hands A10s out as virtual GPUs, which take its GRID driver alone
# (github.com/Azure/azhpc-images/issues/398; NvidiaGPU/Nvidia-GPU-Linux-Resources.json of
# github.com/Azure/azhpc-extensions, 2026-11).
_GRID_ONLY = frozenset({"A10", "M60"})
# NVIDIA's open kernel modules, which the newest GPUs need, know Turing and later
# (developer.nvidia.com/blog, "NVIDIA Transitions Fully Towards Open-Source"); seen on V100s
# (github.com/Azure/azhpc-images/issues/406).
_TOO_OLD = frozenset({"K80", "P40", "P100", "V100-16GB", "V100-32GB"})


def azure_not_launchable(kind: InstanceType, launch: Launch) -> str | None:
    """Why a run could not use the size, or None."""
    if _is_confidential(kind.name):
        return "confidential sizes need a security type and an image made for it"
    gpu = kind.hardware.gpu
    if gpu is None or launch.own_image:
        return None
    if kind.hardware.arch != "x86_64":
        return f"mlbroker knows no image with NVIDIA's driver for {kind.hardware.arch}"
    if gpu.model in _GRID_ONLY:
        return f"Azure's {gpu.model} needs its GRID driver, which the image with CUDA has not"
    if gpu.model in NOT_CUDA:
        return f"no image of mlbroker's choice has a driver for {gpu.model}"
    if gpu.model in _TOO_OLD:
        return f"the image's driver may be too new for {gpu.model}: name an image that has one"
    return None


@cache
def _is_confidential(name: str) -> bool:
    if name.startswith("Standard_NCC"):
        return True
    return name.startswith(_CONFIDENTIAL) and any(mark in name for mark in _CONFIDENTIAL_MARKS)
