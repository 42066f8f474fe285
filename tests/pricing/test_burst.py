"""Credits of burstable machines, by the vendors' own tables."""

import pytest

from mlbroker.pricing.burst import Credits
from mlbroker.pricing.vendors import vendor


@pytest.mark.parametrize(
    ("cloud", "kind", "baseline", "at_launch"),
    [
        ("aws", "t4g.medium", 0.2, 0),
        ("aws", "t3.nano", 0.05, 0),
        ("aws", "t3a.2xlarge", 0.4, 0),
        ("aws", "t2.medium", 0.2, 30),
        ("aws", "t2.2xlarge", 0.17, 30),
        ("azure", "Standard_B1ls", 0.05, 30),
        ("azure", "Standard_B4ms", 0.225, 30),
        ("azure", "Standard_B2ts_v2", 0.2, 30),
        ("azure", "Standard_B16als_v2", 0.3, 30),
        ("azure", "Standard_B8ps_v2", 0.4, 30),
        ("gcp", "e2-small", 0.25, 0),
    ],
)
def test_each_size_has_its_share_and_its_start(
    cloud: str, kind: str, baseline: float, at_launch: float
) -> None:
    assert vendor(cloud).credits(kind) == Credits(baseline, at_launch)


@pytest.mark.parametrize(
    ("cloud", "kind"),
    [("aws", "m5.large"), ("azure", "Standard_D2s_v5"), ("azure", "t3.nano"), ("ssh", "t3.nano")],
)
def test_other_machines_have_none(cloud: str, kind: str) -> None:
    assert vendor(cloud).credits(kind) is None


def test_credits_last_until_they_are_spent_faster_than_earned() -> None:
    # 30 minutes of a vCPU, which earns 12 more in an hour: gone after 37.5 minutes of full use.
    assert Credits(0.2, 30).full_speed_s == pytest.approx(37.5 * 60)
    assert Credits(0.2).full_speed_s == 0
