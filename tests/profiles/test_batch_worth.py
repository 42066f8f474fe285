"""Which batches a job may have beside its own, and what they are worth."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.profiles.batch import Batch, LearningRate, LrRule
from mlbroker.profiles.batch_worth import sizes, worths
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.noise_seen import NoiseSeen

BATCH = Batch(100, 400, rate=LearningRate("LR", 0.1, LrRule.ADASCALE))


def seen(noise: float = 300, *at: int) -> BatchesSeen:
    rows = tuple(Measurement("j", "m", 1.0, steps=10, batch_size=size) for size in at)
    return BatchesSeen(rows, NoiseSeen(noise, 100, 0.1))


def test_what_a_batch_is_worth_is_as_published() -> None:
    found = {worth.at.size: worth for worth in worths(BATCH, 1, seen())}
    own, double = found[100], found[200]
    assert (own.gain, own.sigma_log, own.at.efficiency, own.at.lr_scale) == (1, 0, 1, 1)
    # φ = 300 samples at 100: 200 samples do what 160 would have done.
    assert double.gain == pytest.approx(1.6)
    assert double.at.efficiency == pytest.approx(0.8)
    assert double.at.lr_scale == pytest.approx(1.6)
    # The farther from the job's own batch, the more hangs on φ.
    widths = [found[size].sigma_log for size in sorted(found)]
    assert widths == sorted(widths)
    assert 0.05 < double.sigma_log < 0.2


def test_steps_are_root_two_apart_and_what_was_measured_is_among_them() -> None:
    assert sizes(BATCH, 1, seen()) == [100, 150, 200, 300, 400]
    assert sizes(BATCH, 1, seen(300, 64, 250, 800)) == [100, 150, 200, 250, 300, 400]
    # Of an odd number there is no half.
    assert sizes(Batch(25, 110), 5, seen()) == [25, 50, 75, 100]


def test_a_rate_that_the_file_does_not_name_is_not_scaled() -> None:
    assert {worth.at.lr_scale for worth in worths(Batch(100, 400), 1, seen())} == {None}


@given(
    st.integers(1, 8),
    st.integers(1, 300),
    st.floats(1, 50),
    st.none() | st.integers(1, 64),
    st.floats(0.1, 1e6),
    st.lists(st.integers(1, 5000), max_size=3),
)
def test_no_batch_is_above_the_ceiling_and_all_are_shared_evenly(
    nodes: int,
    share: int,
    grows: float,
    micro: int | None,
    noise: float,
    at: list[int],
) -> None:
    batch = Batch(nodes * share, math.floor(nodes * share * grows), micro)
    found = worths(batch, nodes, seen(noise, *at))
    assert found[0].at.size == batch.size
    for worth in found:
        size, passes = worth.at.size, worth.at.passes
        assert batch.size <= size <= batch.most
        assert size % nodes == 0
        assert size // nodes % passes == 0
        assert micro is None or size // nodes // passes <= micro
        # A larger batch does more in a step, and less with each sample.
        assert 1 - 1e-9 <= worth.gain <= size / batch.size + 1e-9
        assert worth.at.efficiency <= 1 + 1e-9
