"""What a job asks of one machine, held against hardware."""

import pytest

from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Gpu, Hardware

L4 = Gpu("L4", 24.0, 30.0, 121.0, 300.0, 72.0)
PLACE = Hardware(4, 16, "x86_64", gpu=L4, gpu_count=2)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (Requirements(), 1),
        (Requirements(gpu_model="L4", gpu_count=1), 1),
        (Requirements(gpu_model="L4", gpu_count=2), 1),
        (Requirements(gpu_model="L4", gpu_count=3), 2),
        (Requirements(gpu_model="L4"), 1),
        (Requirements(gpu_model="A100", gpu_count=8), 1),  # another kind is in no number of them
        (Requirements(vcpus=Amount(9)), 3),
        (Requirements(vcpus=Amount(4), memory_gib=Amount(64)), 4),
        (Requirements(gpu_model="L4", gpu_count=4, vcpus=Amount(20)), 5),
    ],
)
def test_as_many_places_as_the_need_that_takes_most(asked: Requirements, parts: int) -> None:
    assert asked.parts_of(PLACE) == parts
