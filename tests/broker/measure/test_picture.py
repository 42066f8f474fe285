"""The picture of a measurement: one page, whole in itself, safe whatever the job is called."""

import re

import numpy as np
from tests.support.synthetic_jobs import SyntheticJob

from mlbroker.broker.measure.picture import page
from mlbroker.broker.measure.watch import Observation
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stepping.steady import estimate


def observation() -> Observation:
    durations = 0.1 * np.exp(np.random.default_rng(3).normal(0, 0.03, 1000))
    durations[:10] += 1.0
    durations[24::25] += 2.0
    series = SyntheticJob("job", 2.0, durations).seen(200)
    return Observation(series=series, estimate=estimate(series), stopped="200 steps were seen")


def test_the_page_draws_what_was_found_and_needs_nothing_from_elsewhere() -> None:
    text = page(
        Measurement("job", "here", 0.1, steps=1000, extra={"source": "steps"}), observation()
    )
    assert text.count("<svg") == text.count("</svg>") == 1
    assert text.count('class="period"') == 8
    assert 'class="warm"' in text
    assert 'class="mean"' in text
    assert "every 25 steps" in text
    assert "200 steps were seen" in text
    assert not re.search(r"https?://|<script|url\(", text)


def test_names_cannot_break_out() -> None:
    row = Measurement("<script>x</script>", "a&b", 0.1, extra={"note": "<img onerror=x>"})
    text = page(row, observation())
    assert "<script" not in text
    assert "<img" not in text
    assert "a&amp;b" in text


def test_without_steps_there_is_a_page_all_the_same() -> None:
    assert "No step was counted" in page(Measurement("job", "here", 12.0), Observation())
