"""Google's rules for its machine types that no interface tells: markets, disks, maintenance.

From cloud.google.com/compute/docs, read 2026-11: accelerator-optimized-machines,
general-purpose-machines, instances/setting-vm-host-options, and
cloud.google.com/ai-hypercomputer/docs/create/create-overview (who sells what, and how).
"""

from functools import cache

from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import InstanceType

# Families that take no persistent disks, and machines that do so in families that do.
_HYPERDISK_ONLY = frozenset(
    {"a4", "a4x", "c4", "c4a", "c4d", "c4n", "g4", "h4d", "m4", "m4n", "n4", "n4a", "n4d", "x4"}
)
_A3_ULTRA = "a3-ultragpu-"
# The only ones of their series with more than 18 TiB of local disk, beside its bare metal.
_LARGE_Z3 = frozenset({"z3-highmem-88-highlssd", "z3-highmem-176-standardlssd"})
# NVIDIA's open kernel modules, which Blackwell needs and Google's images therefore have, know
# Turing and later (developer.nvidia.com/blog, "NVIDIA Transitions Fully Towards Open-Source").
_TOO_OLD = ("nvidia-tesla-p4", "nvidia-tesla-p100", "nvidia-tesla-v100")
_PART_OF_A_GPU = frozenset({"g4-standard-6", "g4-standard-12", "g4-standard-24"})
_SMALL_A3 = frozenset({"a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"})


def is_bare_metal(machine_type: str) -> bool:
    """Without a hypervisor: no Shielded VM, and a network card of its own kind."""
    return machine_type.endswith("-metal")


def takes_only_hyperdisk(machine_type: str) -> bool:
    """Whether a persistent disk is refused."""
    family = machine_type.partition("-")[0]
    return (
        family in _HYPERDISK_ONLY
        or machine_type.startswith(_A3_ULTRA)
        or is_bare_metal(machine_type)
    )


def only_stops(machine_type: str) -> bool:
    """Whether it cannot move to another host while it runs, GPUs and spot machines aside."""
    return (
        is_bare_metal(machine_type)
        or machine_type in _LARGE_Z3
        or machine_type.startswith("h4d-")  # its remote memory access is bound to the host
    )


def gcp_not_launchable(kind: InstanceType, launch: Launch) -> str | None:
    """Why a run could not use the type, or None."""
    return _market_closed(kind.name, launch.spot) or (
        None if launch.own_image else _no_image(kind.name)
    )


@cache
def _market_closed(name: str, spot: bool) -> str | None:
    if name.startswith("a4x-"):
        return "Google sells it by reservation only"
    if not spot and name in _SMALL_A3:
        return "Google sells it as spot or flex-start only"
    if not spot and name.startswith(("a4-", _A3_ULTRA)):
        return "Google sells it as spot, flex-start or by reservation only"
    if spot and is_bare_metal(name):
        return "bare metal is not sold as spot"
    if spot and name.startswith("z3-") and not only_stops(name):
        return "a spot machine stops at maintenance, and this one can only move"
    return None


@cache
def _no_image(name: str) -> str | None:
    attached = name.partition("+")[2].partition(":")[0]
    if attached in _TOO_OLD:
        return f"no image of Google's has a driver for {attached}"
    if name in _PART_OF_A_GPU:
        return "a part of a GPU needs NVIDIA's vGPU driver, which no image of Google's has"
    return None
