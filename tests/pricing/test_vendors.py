"""The records of the clouds, and what is assumed of one that has none."""

from decimal import Decimal

import pytest

from mlbroker.pricing.vendors import VENDORS, vendor


def test_a_cloud_without_a_record_works_and_looks_no_cheaper_than_those_with_one() -> None:
    unknown = vendor("lunar")
    assert unknown.meter.minimum_s == max(v.meter.minimum_s for v in VENDORS.values())
    assert unknown.meter.disk_step_s == max(v.meter.disk_step_s for v in VENDORS.values())
    assert not unknown.own
    assert unknown.usual_types == ()
    assert unknown.family("x9.large") == "x9"
    assert unknown.quota_family("x9.large") == "x9.large"
    assert unknown.credits("x9.large") is None


@pytest.mark.parametrize(
    ("cloud", "kind", "family", "quota_family"),
    [
        ("aws", "m7g.large", "m7g", "m"),
        ("aws", "u-12tb1.metal", "u", "u"),
        ("aws", "p4d.24xlarge", "p4d", "p"),
        ("aws", "p5en.48xlarge", "p5en", "p5"),
        ("aws", "inf2.xlarge", "inf2", "inf"),
        ("gcp", "n2d-standard-4", "n2d", "n2d"),
        ("azure", "Standard_D4s_v5", "D", "Standard_D4s_v5"),
        ("azure", "Standard_NC24ads_A100_v4", "NC", "Standard_NC24ads_A100_v4"),
        ("local", "local", "local", "local"),
        ("gcp", "n1-standard-4", "n1", "n1"),
        ("azure", "odd.size", "odd", "odd.size"),
    ],
)
def test_families_as_policies_and_as_vendors_count_them(
    cloud: str, kind: str, family: str, quota_family: str
) -> None:
    assert vendor(cloud).family(kind) == family
    assert vendor(cloud).quota_family(kind) == quota_family


def test_rented_clouds_bill_and_own_machines_do_not() -> None:
    for cloud, record in VENDORS.items():
        assert record.own == (record.usual_region is None), cloud
        assert (record.meter.minimum_s > Decimal(0)) != record.own, cloud
