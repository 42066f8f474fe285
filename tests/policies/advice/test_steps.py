"""What a job's steps spend on nothing, reckoned from a measurement's words."""

from dataclasses import replace

import pytest

from mlbroker.broker.advice_words import waste_words
from mlbroker.policies.advice.steps import Kind, tokens_seen, wastes
from mlbroker.profiles.job import Checkpoint, Job
from mlbroker.profiles.measurement import Measurement, Status

JOB = Job("reviews", "train")
TEXT = {
    "tokens_real": "600",
    "tokens_padded": "1000",
    "tokens_steps": "10",
    "tokens_by": "mask",
}
# 2 ms and 8 ms for 1,000 places more: a fifth of a step of 1,000 places is fixed.
SIZES = {"tokens_sizes": "50:1000:1:0.01 1:1:1:1 50:2000:2:0.018"}


def row(**extra: str) -> Measurement:
    return Measurement("reviews", "here", 0.1, steps=1000, extra=extra)


def test_padding_without_a_law_is_at_most_its_share() -> None:
    (found,) = wastes(JOB, [row(**TEXT)], None)
    assert (found.kind, found.at_most, found.usd) == (Kind.PADDING, True, None)
    assert found.share == pytest.approx(0.4)


def test_padding_takes_its_share_of_what_grows_with_the_batch() -> None:
    (found,) = wastes(JOB, [row(**TEXT, **SIZES)], None)
    assert not found.at_most
    # Of the hundred steps' 1.4 s, .2 s are fixed; the stray step of one place is left out of the
    # law, and weighs nothing.
    assert found.share == pytest.approx(0.4 * (1 - 0.002 / 0.014), rel=0.02)


def test_of_accumulated_batches_the_fixed_part_comes_once_too_often() -> None:
    told = row(**TEXT, **SIZES, batches_per_step="4")
    padding, found = wastes(JOB, [told], None)
    assert (found.kind, found.at_most, found.batches) == (Kind.ACCUMULATION, True, 4)
    # Of 14 ms 2 are fixed, and three of four of them could go.
    assert found.share == pytest.approx(0.75 * 0.002 / 0.014, rel=0.02)
    assert padding.kind is Kind.PADDING
    assert "made of 4 batches" in waste_words(found, JOB)
    assert "up to 11% of the time" in waste_words(found, JOB)


@pytest.mark.parametrize("batches", ["1", "", "many", "9" * 9])
def test_where_none_are_accumulated_nothing_is_said_of_it(batches: str) -> None:
    kinds = [w.kind for w in wastes(JOB, [row(**TEXT, **SIZES, batches_per_step=batches)], None)]
    assert kinds == [Kind.PADDING]
    # Without a law of its steps nobody knows what a batch takes whatever its size is.
    kinds = [w.kind for w in wastes(JOB, [row(**TEXT, batches_per_step="4")], None)]
    assert kinds == [Kind.PADDING]


def test_waiting_and_what_comes_back_are_told_worst_first() -> None:
    periods = '[{"every": 100, "extra_s": 3.0, "seen": 4}, {"every": 7, "extra_s": 1e-6}]'
    seen = row(data_wait_share="0.25", periods=periods)
    found = wastes(JOB, [seen], None)
    assert [(w.kind, round(w.share, 3)) for w in found] == [
        (Kind.PERIODIC, 0.3),
        (Kind.DATA_WAIT, 0.25),
    ]
    # Every 100 steps of .1 s: the checkpoint that the file speaks of.
    kept = wastes(replace(JOB, checkpoint=Checkpoint("ckpt", 11.0)), [seen], None)
    assert kept[0].kind is Kind.CHECKPOINT
    assert (kept[0].every, kept[0].extra_s) == (100, 3.0)
    other = wastes(replace(JOB, checkpoint=Checkpoint("ckpt", 600.0)), [seen], None)
    assert other[0].kind is Kind.PERIODIC


def test_little_is_not_worth_a_sentence() -> None:
    assert not wastes(JOB, [row(data_wait_share="0.04")], None)
    assert not wastes(JOB, [], None)


@pytest.mark.parametrize(
    "extra",
    [
        {"data_wait_share": "nan"},
        {"data_wait_share": "7"},
        {"data_wait_share": "<b>"},
        {"periods": "{"},
        {"periods": '[{"every": 0, "extra_s": 9}]'},
        {"periods": '[{"every": 1e400, "extra_s": 9}]'},
        {"periods": '[{"every": 5, "extra_s": NaN}]'},
        {"periods": "[5]"},
        {"periods": "7"},
    ],
)
def test_words_that_cannot_be_are_not_believed(extra: dict[str, str]) -> None:
    assert not wastes(JOB, [row(**extra)], None)


def test_a_failed_or_a_limited_measurement_tells_nothing() -> None:
    failed = replace(row(**TEXT), status=Status.FAILED)
    limited = row(**TEXT, limited_to_cores="1")
    assert tokens_seen([failed, limited]) is None
    assert not wastes(JOB, [failed, limited], None)
