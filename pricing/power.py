"""Energy and emissions of a machine at work. Method and sources: docs/carbon.md.

CPU power is the Cloud Carbon Footprint model: idle + utilisation x (full - idle) watts for each
vCPU, by CPU family. Memory adds 0.392 W per GiB (same source), beyond that of the servers whose
power was measured, which is in the CPU's watts. A working GPU draws its board power, an idle one a
tenth of it. The data centre multiplies all by its PUE.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mlbroker.pricing.offer import Hardware
from mlbroker.pricing.region import Region

# Of the method with its coefficients: books name it beside each figure, so it changes with them.
METHOD = "mlbroker-power/2"
# Cloud Carbon Footprint: 0.000392 kWh per GB-hour of memory.
MEMORY_W_PER_GIB = 0.392
# Cloud Carbon Footprint's default for machines whose load is not known.
CPU_UTILISATION = 0.5
# Data-centre GPUs idle at 8 to 15 % of board power (T4 10 of 70 W, A100 about 50 of 400 W).
IDLE_GPU_SHARE = 0.1
DEFAULT_CPU = "__default__"
# Cloud Carbon Footprint, `GB/Chip` of its coefficients for AWS (ccf-coefficients,
# output/coefficients-aws-use.csv, commit b0032d9, 2026-03): memory of the servers that a family's
# watts were measured on, and the vCPUs that it takes for one chip: of the family's largest type,
# 96 at most. Families whose watts are another's take its memory too.
_GIB_AND_VCPUS_PER_CHIP = {
    "Sandy Bridge": (17.1, 32),
    "Ivy Bridge": (13.3, 32),
    "Haswell": (31.1, 36),
    "Broadwell": (69.6, 64),
    "Skylake": (75.1, 96),
    "Cascade Lake": (106.0, 96),
    "Coffee Lake": (19.6, 12),
    "Ice Lake": (136.0, 64),
    "Sapphire Rapids": (130.8, 96),
    "Emerald Rapids": (160.0, 96),
    "Granite Rapids": (221.1, 96),
    "EPYC 1st Gen": (92.4, 96),
    "EPYC 2nd Gen": (129.8, 96),
    "EPYC 3rd Gen": (137.1, 96),
    "EPYC 4th Gen": (152.2, 96),
    "EPYC 5th Gen": (152.2, 96),
    "Graviton2": (129.8, 64),
    "Graviton3": (129.8, 64),
    "Graviton3E": (129.8, 64),
    "Graviton4": (129.8, 96),
    "Graviton5": (129.8, 96),
}
# ARM processors whose watts in the price book are Graviton2's.
_LIKE_GRAVITON2 = ("Graviton1", "Ampere Altra", "Cobalt 100", "Axion", "Grace", "Apple")
_MEASURED_GIB_PER_VCPU = {
    name: gib / vcpus for name, (gib, vcpus) in _GIB_AND_VCPUS_PER_CHIP.items()
}
# Of a family that is not known: the mean of those that are, as for its watts.
_USUAL_GIB_PER_VCPU = sum(_MEASURED_GIB_PER_VCPU.values()) / len(_MEASURED_GIB_PER_VCPU)
_MEASURED_GIB_PER_VCPU |= dict.fromkeys(_LIKE_GRAVITON2, _MEASURED_GIB_PER_VCPU["Graviton2"])

CpuPower = Mapping[str, tuple[float, float]]
# Cloud Carbon Footprint's average for AWS: idle and full watts of a vCPU whose family is not known.
AVERAGE_CPU: CpuPower = MappingProxyType({DEFAULT_CPU: (0.74, 3.5)})


@dataclass(frozen=True, slots=True)
class Draw:
    """What one machine's share of its server draws, in watts without PUE.

    All its vCPUs are idle at `cpu_idle_w` and busy at `cpu_full_w`, with as much memory as the
    servers had that this was measured on; `memory_w` is of what it has beyond that, and `gpu_w` the
    board power of all its GPUs, 0 where it has none.
    """

    vcpus: float
    cpu_idle_w: float
    cpu_full_w: float
    memory_w: float
    gpu_w: float

    @classmethod
    def of(cls, hardware: Hardware, cpu_power: CpuPower) -> "Draw | None":
        """By the coefficients of its processor's family; None when a figure is missing."""
        coefficients = cpu_power.get(hardware.cpu or DEFAULT_CPU) or cpu_power.get(DEFAULT_CPU)
        if coefficients is None or hardware.vcpus <= 0:
            return None
        board_w = 0.0 if hardware.gpu is None else hardware.gpu.tdp_w
        if board_w is None:
            return None
        return cls(
            vcpus=hardware.vcpus,
            cpu_idle_w=hardware.vcpus * coefficients[0],
            cpu_full_w=hardware.vcpus * coefficients[1],
            memory_w=_added_gib(hardware) * MEMORY_W_PER_GIB,
            gpu_w=hardware.gpu_count * board_w if hardware.gpu else 0.0,
        )

    def cpu_w(self, utilisation: float) -> float:
        """Of its processors, which are busy for that share of the time."""
        return self.cpu_idle_w + min(utilisation, 1.0) * (self.cpu_full_w - self.cpu_idle_w)

    def gpus_w(self, utilisation: float) -> float:
        """Of its GPUs, likewise."""
        return self.gpu_w * (IDLE_GPU_SHARE + (1 - IDLE_GPU_SHARE) * min(utilisation, 1.0))

    def watts(self, cpu_utilisation: float, gpu_utilisation: float) -> float:
        """Of the whole machine."""
        return self.cpu_w(cpu_utilisation) + self.memory_w + self.gpus_w(gpu_utilisation)


@dataclass(frozen=True, slots=True)
class Supply:
    """What a machine draws, and from where: the building's PUE and the grid's annual intensity,
    None where it is unknown.
    """

    draw: Draw
    pue: float
    grid_kgco2e_per_kwh: float | None

    @classmethod
    def of(cls, hardware: Hardware, cpu_power: CpuPower, region: Region) -> "Supply | None":
        """Of a machine in a region; None when its power or the PUE is unknown."""
        draw = Draw.of(hardware, cpu_power)
        if draw is None or region.pue is None:
            return None
        return cls(draw, region.pue, region.grid_kgco2e_per_kwh)


def _added_gib(hardware: Hardware) -> float:
    """Memory that is not in the watts of the CPU already."""
    measured = _MEASURED_GIB_PER_VCPU.get(hardware.cpu or "", _USUAL_GIB_PER_VCPU)
    return max(0.0, hardware.memory_gib - measured * hardware.vcpus)


def power_w(hardware: Hardware, cpu_power: CpuPower, *, gpu_works: bool) -> float | None:
    """Watts of one machine's share of its server, without PUE; None when a figure is missing."""
    draw = Draw.of(hardware, cpu_power)
    return None if draw is None else draw.watts(CPU_UTILISATION, float(gpu_works))


def energy_kwh(watts: float | None, hours: float, region: Region) -> float | None:
    """Energy drawn from the grid in `hours`; None when power or PUE is unknown."""
    if watts is None or region.pue is None:
        return None
    return watts / 1000 * hours * region.pue


def carbon_kgco2e(kwh: float | None, region: Region) -> float | None:
    """Location-based emissions of `kwh`; None when the grid's intensity is unknown."""
    if kwh is None or region.grid_kgco2e_per_kwh is None:
        return None
    return kwh * region.grid_kgco2e_per_kwh
