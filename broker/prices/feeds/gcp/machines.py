"""GCP's machine types: what each is made of, where it is offered, and what its parts cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbroker.broker.prices.feeds.gcp.skus import Place, UnitPrices
from mlbroker.broker.prices.records import TypeRecord
from mlbroker.pricing.offer import InstanceType

LOCAL_SSD_GIB = 375
# Shared-core machines show two CPUs and are billed for a part of them.
BILLED_CORES = {"e2-micro": 0.25, "e2-small": 0.5, "e2-medium": 1.0}
# Whose cores and memory a machine is made of, by how its name begins, where it is not its family.
PARTS = {
    "m2-": ("m1", "m2"),
    "m4-ultramem-224": ("m4ultramem224",),
    "a3-megagpu-": ("a3plus",),
    "a3-ultragpu-": ("a3ultra",),
    "a4-": (),  # all that it has is in the price of its GPUs
}
# They have a share of a GPU, which the API calls one.
NOT_FROM_PARTS = ("g4-standard-6", "g4-standard-12", "g4-standard-24")
GPU_MODELS = {
    "nvidia-tesla-t4": ("T4", 16.0),
    "nvidia-tesla-v100": ("V100-16GB", 16.0),
    "nvidia-tesla-p100": ("P100", 16.0),
    "nvidia-tesla-p4": ("P4", 8.0),
    "nvidia-tesla-a100": ("A100-40GB", 40.0),
    "nvidia-a100-80gb": ("A100-80GB", 80.0),
    "nvidia-l4": ("L4", 24.0),
    "nvidia-h100-80gb": ("H100", 80.0),
    "nvidia-h100-mega-80gb": ("H100", 80.0),
    "nvidia-h200-141gb": ("H200", 141.0),
    "nvidia-b200": ("B200", 180.0),
    "nvidia-rtx-pro-6000": ("RTXPRO6000", 96.0),
}
# Of two accelerators with the same GPU, the first.
_ACCELERATOR_OF = {model: name for name, (model, _) in reversed(GPU_MODELS.items())}


@dataclass(frozen=True, slots=True)
class CatalogueMachine:
    """A machine type by its parts. `name` may end in "+accelerator:count" (attached GPUs)."""

    name: str
    vcpus: float
    memory_gib: float
    accelerator: str | None = None
    accelerators: float = 0
    local_ssds: int = 0
    shared: bool = False
    arm: bool = False

    @property
    def family(self) -> str:
        """ "n1" of "n1-standard-4"."""
        return self.name.split("-", 1)[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """The families whose cores and memory it costs together."""
        special = (parts for start, parts in PARTS.items() if self.name.startswith(start))
        return next(special, (self.family,))

    def price(self, prices: UnitPrices, place: Place) -> int | None:
        """The sum of its parts in billionths an hour, None when a part has no price there."""
        if (self.name, place) in prices.machines:
            return prices.machines[self.name, place]
        if self.name in NOT_FROM_PARTS:
            return None
        total = 0.0
        for family in self.parts:
            core, ram = prices.cores.get((family, place)), prices.memory.get((family, place))
            if core is None or ram is None:
                return None
            total += BILLED_CORES.get(self.name, self.vcpus) * core + self.memory_gib * ram
        if self.accelerators:
            gpu = prices.gpus.get((self.accelerator or "", place))
            if gpu is None:
                return None
            total += self.accelerators * gpu
        if self.local_ssds and self.parts:
            disk = prices.disk_of(self.family, place)
            if disk is None:
                return None
            total += self.local_ssds * LOCAL_SSD_GIB * disk
        return round(total)

    def record(self, day: int) -> TypeRecord:
        """The machine as a type that the book can take in."""
        gpu = GPU_MODELS.get(self.accelerator) if self.accelerator else None
        hardware = (
            self.vcpus,
            self.memory_gib,
            "arm64" if self.arm else "x86_64",
            None,
            gpu,
            float(self.accelerators),
            self.shared,
            "-metal" in self.name,
            float(self.local_ssds * LOCAL_SSD_GIB),
            None,
        )
        return TypeRecord("gcp", self.name, hardware, day, "gcp-machine-types")


def machine_of(entry: Mapping[str, Any]) -> CatalogueMachine:
    """A machine type as Compute Engine describes it."""
    accelerators = entry.get("accelerators") or [{}]
    return CatalogueMachine(
        entry["name"],
        float(entry["guestCpus"]),
        entry["memoryMb"] / 1024,
        accelerators[0].get("guestAcceleratorType"),
        accelerators[0].get("guestAcceleratorCount", 0),
        (entry.get("bundledLocalSsds") or {}).get("partitionCount", 0),
        bool(entry.get("isSharedCpu")),
        entry.get("architecture") == "ARM64",
    )


def known_machines(types: Iterable[InstanceType]) -> dict[str, CatalogueMachine]:
    """The book's own machines by their parts, for those whose parts it knows for sure.

    A type with local disk is left out: the book does not tell bundled disks from attached ones.
    """
    machines = {}
    for entry in types:
        hardware = entry.hardware
        accelerator = None
        if hardware.gpu is not None:
            accelerator = _ACCELERATOR_OF.get(hardware.gpu.model)
            if accelerator is None:
                continue
        if hardware.local_disk_gib:
            continue
        machines[entry.name] = CatalogueMachine(
            entry.name,
            hardware.vcpus,
            hardware.memory_gib,
            accelerator,
            hardware.gpu_count,
            0,
            hardware.burstable,
            hardware.arch == "arm64",
        )
    return machines
