"""Sizes of Azure that have a price, and that a run could not use as they are."""

import pytest

from mlbroker.pricing.azure_types import azure_not_launchable
from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType


def why_not(
    name: str, gpu: str | None = None, own_image: bool = False, arch: str = "x86_64"
) -> str | None:
    of = Gpu(gpu, 24.0) if gpu else None
    kind = InstanceType("azure", name, Hardware(8, 32.0, arch, gpu=of, gpu_count=bool(of)))
    return azure_not_launchable(kind, Launch(False, own_image))


@pytest.mark.parametrize(
    "name",
    ["Standard_DC2as_v5", "Standard_DC4ads_cc_v5", "Standard_DC2es_v6", "Standard_EC8eds_v6",
     "Standard_EC96ias_v5", "Standard_NCC40ads_H100_v5"],
)  # fmt: skip
def test_confidential_sizes_are_no_candidates_whatever_the_image(name: str) -> None:
    assert "security type" in (why_not(name, own_image=True) or "")


@pytest.mark.parametrize(
    "name", ["Standard_DC2s_v3", "Standard_DC8_v2", "Standard_D2as_v5", "Standard_E8ads_v5"]
)
def test_sizes_with_nearly_such_names_are(name: str) -> None:
    assert why_not(name) is None


def test_gpus_without_a_driver_need_an_image_of_the_users_own() -> None:
    assert "GRID" in (why_not("Standard_NV36ads_A10_v5", "A10") or "")
    assert "MI300X" in (why_not("Standard_ND96isr_MI300X_v5", "MI300X") or "")
    assert "arm64" in (why_not("Standard_ND128isr_NDR_GB200_v6", "GB200", arch="arm64") or "")
    assert "V100" in (why_not("Standard_NC6s_v3", "V100-16GB") or "")
    for name, gpu in (("Standard_NV36ads_A10_v5", "A10"), ("Standard_NC6s_v3", "V100-16GB")):
        assert why_not(name, gpu, own_image=True) is None
    assert why_not("Standard_NC4as_T4_v3", "T4") is None
    assert why_not("Standard_ND96isr_H100_v5", "H100") is None
