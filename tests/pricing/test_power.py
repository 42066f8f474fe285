"""Energy and emissions: figures worked out by hand, and what stays unknown."""

import pytest

from mlbroker.broker.prices import embedded
from mlbroker.pricing import power
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.pricing.region import Region

COEFFICIENTS = {"Ice Lake": (1.0, 4.0), power.DEFAULT_CPU: (0.5, 3.5)}
CPU_BOX = Hardware(8, 32, "x86_64", cpu="Ice Lake")
T4 = Gpu("T4", 16, tdp_w=70.0)
REGION = Region("aws", "us-east-1", grid_kgco2e_per_kwh=0.4, pue=1.2)


def test_cpu_power_is_idle_plus_half_of_the_rest_plus_memory() -> None:
    # 8 x (1 + .5 x 3) + (32 - 8 x 136 / 64) x .392: the CPU's watts hold 17 GiB already.
    watts = power.power_w(CPU_BOX, COEFFICIENTS, gpu_works=False)
    assert watts == pytest.approx(20 + 15 * 0.392)


def test_less_memory_than_the_measured_servers_had_takes_nothing_away() -> None:
    box = CPU_BOX._replace(memory_gib=4)
    assert power.power_w(box, COEFFICIENTS, gpu_works=False) == pytest.approx(20)


# The Cloud Carbon Footprint's own arithmetic, by hand. Idle and full watts of a vCPU and GB per
# chip are of ccf-coefficients, output/coefficients-aws-use.csv (commit b0032d9, 2026-03), means
# where it names two processors for a family (m5 and r5: Skylake, Cascade Lake); CPUs are half
# used; memory takes 0.000392 kWh per GB and hour; the PUE of AWS is 1.135. Of the memory counts
# (largest type's memory - GB per chip) x type's memory / largest type's memory, where the largest
# type is one chip (calculateGigabyteHours in packages/core/src/helpers.ts).
CCF = {
    # 4 x (.6516 + .5 x (4.0838 - .6516)) = 9.471; (384 - 90.54) x 16 / 384 = 12.228 GB
    "m5.xlarge": 9.471 + 12.228 * 0.392,
    # as m5; (768 - 90.54) x 32 / 768 = 28.228 GB
    "r5.xlarge": 9.471 + 28.228 * 0.392,
    # 4 x (.8468 + .5 x (2.6042 - .8468)) = 6.902; (384 - 92.44) x 16 / 384 = 12.148 GB
    "m5a.xlarge": 6.902 + 12.148 * 0.392,
    # 4 x (.4743 + .5 x (1.6930 - .4743)) = 4.335; (192 - 129.78) x 8 / 192 = 2.593 GB
    "c5a.xlarge": 4.335 + 2.593 * 0.392,
    # as c5a; its largest type has 128 GB, fewer than the chip
    "c6g.xlarge": 4.335,
    # as c5a; (256 - 129.78) x 16 / 256 = 7.889 GB
    "m6g.xlarge": 4.335 + 7.889 * 0.392,
}


@pytest.mark.parametrize("name", CCF)
def test_an_hour_takes_what_the_cloud_carbon_footprint_says(name: str) -> None:
    book = embedded.load()
    kind = next(row for row in book["types"] if row[:2] == ["aws", name])
    vcpus, memory_gib, arch, cpu, *_ = book["hardware"][kind[2]]
    box = Hardware(vcpus, memory_gib, arch, cpu=cpu)
    watts = power.power_w(box, book["cpu_power"], gpu_works=False)
    kwh = power.energy_kwh(watts, 1.0, Region("aws", "us-east-1", pue=1.135))
    assert kwh == pytest.approx(CCF[name] / 1000 * 1.135, rel=0.02)


def test_an_unknown_cpu_takes_the_average_one() -> None:
    watts = power.power_w(Hardware(8, 0, "x86_64"), COEFFICIENTS, gpu_works=False)
    assert watts == pytest.approx(8 * 2.0)


@pytest.mark.parametrize(("works", "gpu_watts"), [(True, 140.0), (False, 14.0)])
def test_a_gpu_draws_its_board_power_only_at_work(works: bool, gpu_watts: float) -> None:
    box = CPU_BOX._replace(gpu=T4, gpu_count=2)
    without = power.power_w(CPU_BOX, COEFFICIENTS, gpu_works=works)
    watts = power.power_w(box, COEFFICIENTS, gpu_works=works)
    assert watts is not None
    assert without is not None
    assert watts - without == pytest.approx(gpu_watts)


def test_unknown_stays_unknown() -> None:
    accelerator = CPU_BOX._replace(gpu=Gpu("Inferentia2", 32), gpu_count=1)
    assert power.power_w(accelerator, COEFFICIENTS, gpu_works=True) is None
    assert power.power_w(CPU_BOX, {}, gpu_works=False) is None
    assert power.energy_kwh(None, 1.0, REGION) is None
    assert power.energy_kwh(100.0, 1.0, Region("aws", "x")) is None
    assert power.carbon_kgco2e(1.0, Region("aws", "x", pue=1.2)) is None
    assert power.carbon_kgco2e(None, REGION) is None


def test_energy_and_carbon_of_an_hour() -> None:
    kwh = power.energy_kwh(500.0, 2.0, REGION)
    assert kwh == pytest.approx(1.2)
    assert power.carbon_kgco2e(kwh, REGION) == pytest.approx(0.48)
