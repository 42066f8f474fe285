"""Accelerators that nobody sells: which of those sold is most like each."""

import pytest

from mlbroker.pricing.gpu_names import unsold_model
from mlbroker.pricing.offer import Gpu
from mlbroker.pricing.unsold_gpus import nearest_sold

SOLD = [
    Gpu("T4", 16, 8.1, 65, 320),
    Gpu("A10G", 24, 31.5, 70, 600),
    Gpu("L40S", 48, 91.6, 362, 864),
    Gpu("A100-80GB", 80, 19.5, 312, 2039),
    Gpu("H100", 80, 67, 989, 3350),
    Gpu("H200", 141, 67, 989, 4800),
    Gpu("Trainium1", 32, 47.5, 190, 820),
    Gpu("K80", 12, 4.4, None, 240),
]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RTX6000-Ada", "L40S"), ("L40", "L40S"), ("A40", "L40S"), ("RTX 3090", "A10G"),
        ("H20", "A100-80GB"), ("H800", "H100"), ("A800", "A100-80GB"), ("tpu-v5litepod-8", "T4"),
        ("tpu-v3-8", "L40S"), ("RTX A6000", "L40S"), ("GTX 1060", None),
    ],
)  # fmt: skip
def test_the_nearest_in_memory_and_speed(name: str, nearest: str | None) -> None:
    model = unsold_model(name)
    assert model is not None
    found = nearest_sold(model, SOLD)
    assert (found and found.model) == nearest
