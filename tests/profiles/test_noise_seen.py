"""Of the noise only what can be is believed, whoever tells it."""

import pytest

from mlbroker.profiles.noise_seen import NoiseSeen, noise_of, why_unknown

PROBED = {"noise_per_batch": "2.5", "noise_sigma": "0.1", "noise_batch": "64"}


def test_the_probe_counts_in_batches() -> None:
    assert noise_of(PROBED) == NoiseSeen(160, 64, 0.1)
    unsized = {name: PROBED[name] for name in ("noise_per_batch", "noise_sigma")}
    assert noise_of(unsized) is None
    assert noise_of(unsized, 128) == NoiseSeen(320, 128, 0.1)
    # What the loader handed over is seen, what the file says is said.
    assert noise_of(PROBED, 128) == NoiseSeen(160, 64, 0.1)


def test_the_jobs_own_word_comes_first() -> None:
    seen = noise_of({**PROBED, "noise_told": "1.5e3 256"})
    assert seen is not None
    assert seen.told_by_job
    assert (seen.noise, seen.batch) == (1500, 256)


@pytest.mark.parametrize(
    "told", ["nan 64", "inf 64", "-5 64", "0 64", "5", "5 0", "1e99999 64", "<b> 1"]
)
def test_what_is_no_noise_is_not_believed(told: str) -> None:
    assert noise_of({"noise_told": told}) is None
    assert noise_of({**PROBED, "noise_told": told}) == NoiseSeen(160, 64, 0.1)


@pytest.mark.parametrize("name", PROBED)
@pytest.mark.parametrize("value", ["-1", "nan", "0", "", "1 2", "9" * 40])
def test_what_no_probe_writes_is_not_believed(name: str, value: str) -> None:
    assert noise_of({**PROBED, name: value}) is None


def test_why_it_is_unknown_is_told() -> None:
    assert noise_of({"noise_unknown": "several optimizers"}) is None
    assert why_unknown({"noise_unknown": "several optimizers"}) == "several optimizers"
