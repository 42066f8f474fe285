"""Energy and emissions: figures worked out by hand, and what stays unknown."""

import pytest

from mlbroker.pricing import power
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.pricing.region import Region

COEFFICIENTS = {"Ice Lake": (1.0, 4.0), power.DEFAULT_CPU: (0.5, 3.5)}
CPU_BOX = Hardware(8, 32, "x86_64", cpu="Ice Lake")
T4 = Gpu("T4", 16, tdp_w=70.0)
REGION = Region("aws", "us-east-1", grid_kgco2e_per_kwh=0.4, pue=1.2)


def test_cpu_power_is_idle_plus_half_of_the_rest_plus_memory() -> None:
    # 8 x (1 + .5 x 3) + 32 x .392
    watts = power.power_w(CPU_BOX, COEFFICIENTS, gpu_works=False)
    assert watts == pytest.approx(20 + 12.544)


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
