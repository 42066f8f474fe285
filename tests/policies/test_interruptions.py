"""Published and unknown interruption rates, and when spot is a gamble."""

import math

import pytest

from mlbroker.policies import interruptions
from mlbroker.policies.outcome import Outcome
from mlbroker.profiles.job import Checkpoint

EVERY_TEN_MINUTES = Checkpoint("ckpt/", 600)


def test_a_published_share_is_read_as_the_chance_within_a_day() -> None:
    per_s = interruptions.interruptions_per_s(0.10, has_gpu=True)
    assert 1 - math.exp(-per_s * 86_400) == pytest.approx(0.10)


def test_an_unknown_rate_is_not_zero_and_worse_for_gpus() -> None:
    cpu = interruptions.interruptions_per_s(None, has_gpu=False)
    gpu = interruptions.interruptions_per_s(None, has_gpu=True)
    assert 0 < cpu < gpu


def test_an_interruption_loses_half_a_period_or_half_of_the_work() -> None:
    assert interruptions.loss_s(EVERY_TEN_MINUTES, 100, 7200) == 100 + 300
    assert interruptions.loss_s(None, 100, 7200) == 100 + 3600


def test_long_work_without_a_checkpoint_is_a_gamble_and_with_one_is_not() -> None:
    def outcome(checkpoint: Checkpoint | None) -> Outcome:
        loss = interruptions.loss_s(checkpoint, 100, 200_000)
        return Outcome(200_000, 0.05, 100, interruptions.interruptions_per_s(None, False), loss)

    assert interruptions.too_often(None, outcome(None)) is not None
    assert interruptions.too_often(EVERY_TEN_MINUTES, outcome(EVERY_TEN_MINUTES)) is None


def test_losing_more_than_half_of_the_time_is_a_gamble_even_with_a_checkpoint() -> None:
    rare = Checkpoint("ckpt/", 86_400)
    outcome = Outcome(1e6, 0.05, 100, 1 / 40_000, interruptions.loss_s(rare, 100, 1e6))
    assert "half of the time" in (interruptions.too_often(rare, outcome) or "")
