"""What no image of AWS's serves is no candidate: and why."""

import pytest

from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import Hardware, InstanceType
from mlbroker.pricing.vendors import vendor


def why_not(name: str, own_image: bool = False) -> str | None:
    kind = InstanceType("aws", name, Hardware(8.0, 32.0, "x86_64"))
    return vendor("aws").not_launchable(kind, Launch(spot=False, own_image=own_image))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a1.xlarge", "Graviton2"),
        ("p2.xlarge", "old GPU"),
        ("p3dn.24xlarge", "old GPU"),
        ("g3s.xlarge", "old GPU"),
        ("g6f.large", "part of a GPU"),
        ("g4ad.xlarge", "AMD"),
        ("inf2.xlarge", "accelerator"),
        ("trn1n.32xlarge", "accelerator"),
        ("trn2u.48xlarge", "accelerator"),
        ("dl1.24xlarge", "accelerator"),
        ("dl2q.24xlarge", "accelerator"),
    ],
)
def test_what_no_image_serves_is_out_unless_the_user_brings_one(name: str, says: str) -> None:
    assert says in (why_not(name) or "")
    assert why_not(name, own_image=True) is None


@pytest.mark.parametrize(
    "name", ["m5.large", "m6g.large", "g4dn.xlarge", "g5g.xlarge", "p4d.24xlarge"]
)
def test_everything_else_is_a_candidate(name: str) -> None:
    assert why_not(name) is None


def test_what_is_usual_can_be_launched() -> None:
    usual = vendor("aws").usual_types
    assert "g5.xlarge" in usual
    assert [name for name in usual if why_not(name)] == []
