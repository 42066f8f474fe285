import numpy as np

from mlbroker.profiles.transfer.history import PastJob, complete, failure_share, prior, profile
from mlbroker.profiles.transfer.kernel import Hyper
from mlbroker.profiles.transfer.space import encode

SPACE = encode({"vcpus": [1, 2, 4, 8, 16, 32]}, [""] * 6)


def past(name: str, family: str, rows: list[int], times: list[float], failed: list[int]) -> PastJob:
    return PastJob(
        name, family, np.array(rows), np.log(np.array(times)), np.array(failed, dtype=int)
    )


def test_measured_times_stay_and_gaps_are_interpolated() -> None:
    job = past("a", "a", [0, 1, 2, 4], [80, 40, 20, 5], [])
    (found,) = complete(SPACE, [job], Hyper())
    assert np.allclose(np.exp(found[[0, 1, 2, 4]]), [80, 40, 20, 5])
    assert 5 < np.exp(found[3]) < 20


def test_a_job_that_never_worked_adds_nothing() -> None:
    (found,) = complete(SPACE, [past("a", "a", [], [], [0, 1])], Hyper())
    assert np.array_equal(found, SPACE.expected)


def test_sisters_count_as_one_family() -> None:
    up, down = np.arange(6.0), -np.arange(6.0)
    alone, _ = profile(np.array([up, down]), ["u", "d"], np.zeros(6))
    crowd, factors = profile(np.array([up, up, up, down]), ["u", "u", "u", "d"], np.zeros(6))
    assert np.allclose(alone, 0)
    assert np.allclose(crowd, 0)
    assert factors.shape == (4, 6)


def test_no_past_leaves_the_specifications() -> None:
    belief = prior(SPACE, np.arange(6), [], [])
    assert np.allclose(belief.mean, SPACE.expected)
    assert belief.factors.shape == (0, 6)
    assert (belief.failure > 0).all()
    assert (belief.failure < 0.1).all()


def test_failures_of_the_past_are_expected_again() -> None:
    jobs = [past(f"j{i}", f"j{i}", [1, 2, 3], [3, 2, 1], [0]) for i in range(5)]
    share = failure_share(jobs, 6)
    assert share[0] > 0.5
    assert share[3] < 0.2
    assert share[3] < share[5] < share[0]
