"""What Google does not sell, or serves with no image of its own, is no candidate: and why."""

import pytest

from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import Hardware, InstanceType
from mlbroker.pricing.vendors import vendor

P100 = "n1-standard-8+nvidia-tesla-p100:1"
ON_DEMAND, SPOT = Launch(spot=False, own_image=False), Launch(spot=True, own_image=False)


def why_not(name: str, launch: Launch) -> str | None:
    kind = InstanceType("gcp", name, Hardware(8.0, 32.0, "x86_64"))
    return vendor("gcp").not_launchable(kind, launch)


@pytest.mark.parametrize(
    ("name", "launch", "says"),
    [
        ("a3-highgpu-1g", ON_DEMAND, "spot or flex-start only"),
        ("a3-ultragpu-8g", ON_DEMAND, "by reservation only"),
        ("a4-highgpu-8g", ON_DEMAND, "by reservation only"),
        ("a4x-highgpu-4g", ON_DEMAND, "by reservation only"),
        ("a4x-highgpu-4g", SPOT, "by reservation only"),
        ("c3-standard-192-metal", SPOT, "bare metal"),
        ("z3-highmem-8-highlssd", SPOT, "can only move"),
        (P100, ON_DEMAND, "no image of Google's has a driver for nvidia-tesla-p100"),
        ("n1-standard-8+nvidia-tesla-v100:4", SPOT, "nvidia-tesla-v100"),
        ("n1-standard-8+nvidia-tesla-p4:1", SPOT, "nvidia-tesla-p4"),
        ("g4-standard-12", SPOT, "vGPU"),
    ],
)
def test_what_a_run_could_not_use_is_out_with_its_reason(
    name: str, launch: Launch, says: str
) -> None:
    assert says in (why_not(name, launch) or "")


@pytest.mark.parametrize(
    ("name", "launch"),
    [
        ("e2-standard-2", ON_DEMAND),
        ("a3-highgpu-1g", SPOT),
        ("a3-highgpu-8g", ON_DEMAND),
        ("c3-standard-192-metal", ON_DEMAND),
        ("z3-highmem-8-highlssd", ON_DEMAND),
        ("z3-highmem-88-highlssd", SPOT),
        ("n1-standard-8+nvidia-tesla-t4:1", SPOT),
        ("g4-standard-48", ON_DEMAND),
        # Who brings an image has seen to the driver.
        (P100, Launch(spot=False, own_image=True)),
        ("g4-standard-12", Launch(spot=True, own_image=True)),
    ],
)
def test_everything_else_is_a_candidate(name: str, launch: Launch) -> None:
    assert why_not(name, launch) is None
