"""Energy and emissions of a machine at work. Method and sources: docs/carbon.md.

CPU power is the Cloud Carbon Footprint model: idle + utilisation x (full - idle) watts for each
vCPU, by CPU family. Memory adds 0.392 W per GiB (same source). A working GPU draws its board
power, an idle one a tenth of it. The data centre multiplies all by its PUE.
"""

from collections.abc import Mapping

from mlbroker.pricing.offer import Hardware
from mlbroker.pricing.region import Region

# Cloud Carbon Footprint: 0.000392 kWh per GB-hour of memory.
MEMORY_W_PER_GIB = 0.392
# Cloud Carbon Footprint's default for machines whose load is not known.
CPU_UTILISATION = 0.5
# Data-centre GPUs idle at 8 to 15 % of board power (T4 10 of 70 W, A100 about 50 of 400 W).
IDLE_GPU_SHARE = 0.1
DEFAULT_CPU = "__default__"

CpuPower = Mapping[str, tuple[float, float]]


def power_w(
    hardware: Hardware,
    cpu_power: CpuPower,
    *,
    gpu_works: bool,
    cpu_utilisation: float = CPU_UTILISATION,
) -> float | None:
    """Watts of one machine's share of its server, without PUE; None when a figure is missing."""
    coefficients = cpu_power.get(hardware.cpu or DEFAULT_CPU) or cpu_power.get(DEFAULT_CPU)
    if coefficients is None or hardware.vcpus <= 0:
        return None
    idle_w, full_w = coefficients
    watts = hardware.vcpus * (idle_w + cpu_utilisation * (full_w - idle_w))
    watts += hardware.memory_gib * MEMORY_W_PER_GIB
    if hardware.gpu is not None:
        if hardware.gpu.tdp_w is None:
            return None
        share = 1.0 if gpu_works else IDLE_GPU_SHARE
        watts += hardware.gpu_count * hardware.gpu.tdp_w * share
    return watts


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
