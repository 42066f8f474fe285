import numpy as np

from mlbroker.profiles.transfer.history import (
    Completed,
    PastJob,
    complete,
    failure_share,
    prior,
    profile,
)
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
    assert np.allclose(np.exp(found.log_times[[0, 1, 2, 4]]), [80, 40, 20, 5])
    assert 5 < np.exp(found.log_times[3]) < 20
    assert found.known[[0, 1, 2, 4]].tolist() == [1, 1, 1, 1]
    assert 1 > found.known[3] > found.known[5] > 0


def test_a_job_that_never_worked_adds_nothing() -> None:
    (found,) = complete(SPACE, [past("a", "a", [], [], [0, 1])], Hyper())
    assert np.array_equal(found.log_times, SPACE.expected)
    assert not found.known.any()


def known(log_times: np.ndarray, share: np.ndarray | float = 1.0) -> Completed:  # type: ignore[type-arg]
    return Completed(log_times, np.ones(6) * share)


def test_sisters_count_as_one_family() -> None:
    up, down, rows = np.arange(6.0), -np.arange(6.0), np.arange(6)
    alone = profile([known(up), known(down)], rows, ["u", "d"], np.zeros(6))
    crowd = profile(
        [known(up), known(up), known(up), known(down)], rows, ["u", "u", "u", "d"], np.zeros(6)
    )
    assert np.allclose(alone.mean, 0)
    assert np.allclose(crowd.mean, 0)
    assert crowd.factors.shape == (4, 6)
    # Like no past job, or like one of the four: sisters share their family's chance.
    assert crowd.offsets.shape == (5, 6)
    assert np.allclose(crowd.chances * 3, [1, 1 / 3, 1 / 3, 1 / 3, 1])


def test_a_job_says_nothing_of_machines_unlike_its_own() -> None:
    strange = known(np.array([0, 0, 0, 9.0, 9.0, 9.0]), np.array([1, 1, 1, 0, 0, 0]))
    usual = profile([strange], np.arange(6), ["s"], np.zeros(6))
    assert np.allclose(usual.mean, 0)
    assert np.allclose(usual.factors, 0)
    assert np.allclose(usual.offsets, 0)


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
