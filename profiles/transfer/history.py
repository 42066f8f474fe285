"""What past jobs say about a new one: the usual profile over machines, and how jobs deviate."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.kernel import Hyper, covariance, variance
from mlbroker.profiles.transfer.space import Space

# Variance of a past job's overall scale: nothing is assumed about it.
ANY_SCALE = 9.0
# Standard deviation of log time between two runs on the same configuration.
NOISE = 0.03
# How many families the expectation from specifications counts as.
SPEC_FAMILIES = 0.25
# How many families the possibility counts as that a job is like no single past one.
UNLIKE_FAMILIES = 1.0
# How many families the closed-form shapes of jobs count as, where there is one family or none.
SHAPE_FAMILIES = 2.0
# A job is completed from at most so many of its configurations: more add time, not knowledge.
MAX_KNOWN = 200
FEWEST_KNOWN = 20
# All jobs together from at most about so many.
MAX_LANDMARKS = 1500
# Before any failure is seen, one configuration in fifty is expected to fail.
FAILURES_SEEN, RUNS_SEEN = 0.2, 10.0
LOCAL_RUNS = 3.0


class PastJob(NamedTuple):
    """One past job: on which rows of the space it ran, with which log times, and where it failed.

    Sister jobs share a `family`, and count as one together.
    """

    name: str
    family: str
    rows: Array
    log_times: Array
    failed: Array

    @property
    def tried(self) -> Array:
        """All rows it ran on, failed or not, each once and in order."""
        return _union([self.rows, self.failed])


class Prior(NamedTuple):
    """What is believed about a job before it is measured, for each of its candidates.

    `mean` is expected log time up to the job's scale. With these `chances` the job is like no
    single past job, or just like one of them: `offsets` are how the mean of each of these cases
    differs from `mean`, the first is zero. In each case the job deviates along `factors` (one row
    each) and as specifications let expect. `failure` is the chance to fail. `jobs` is the number
    of past jobs behind it. `first`: they are too few, and closed-form jobs stand in for them; `gpu`
    (C,) is then 1 for machines with a GPU of use, NaN where a machine is not known. Otherwise
    `unlike` is what would be believed of the job if it were like none of them.
    """

    space: Space
    mean: Array
    factors: Array
    failure: Array
    jobs: int
    offsets: Array
    chances: Array
    first: bool = False
    gpu: Array | None = None
    unlike: "Prior | None" = None


class Shapes(NamedTuple):
    """Log times (A, C) that a job may have, up to its scale; weights (A,) of these cases.

    `gpu` (C,) is 1 for machines with a GPU of use, else 0. NaN where a machine is not known.
    """

    log_times: Array
    weights: Array
    gpu: Array


class Usual(NamedTuple):
    """What completed jobs have in common and how they differ; fields as in `Prior`."""

    mean: Array
    factors: Array
    offsets: Array
    chances: Array


class Completed(NamedTuple):
    """A past job's log times (N,) on the configurations of the space: measured, or interpolated.

    `known` (N,) is 1 where it was measured and falls to 0 where nothing like it was.
    """

    log_times: Array
    known: Array


def complete(space: Space, past: Sequence[PastJob], hyper: Hyper) -> list[Completed]:
    """All past jobs, each completed by itself."""
    known = _known(space, past, MAX_KNOWN)
    landmarks = _union([rows for rows, _ in known])
    if len(landmarks) > MAX_LANDMARKS:
        # Jobs that share few configurations: each is completed from fewer, or memory runs out.
        known = _known(space, past, max(MAX_LANDMARKS // len(past), FEWEST_KNOWN))
        landmarks = _union([rows for rows, _ in known])
    k = covariance(space, np.arange(space.size), landmarks, hyper) + ANY_SCALE
    unknown = variance(space, hyper)
    completed = []
    for job, (rows, log_times) in zip(past, known, strict=True):
        if not len(rows):
            completed.append(Completed(space.expected.copy(), np.zeros(space.size)))
            continue
        columns = np.searchsorted(landmarks, rows)
        among = k[np.ix_(rows, columns)]
        among[np.diag_indices(len(rows))] += hyper.own + NOISE**2
        residual = log_times - space.expected[rows]
        level = float(residual.mean())
        factor = np.linalg.cholesky(among)
        towards = np.linalg.solve(factor, k[:, columns].T)
        whitened = np.linalg.solve(factor, residual - level)
        found = space.expected + level + towards.T @ whitened
        left = unknown + ANY_SCALE - (towards**2).sum(0)
        share = np.clip(1 - left / unknown, 0.0, 1.0)
        found[job.rows], share[job.rows] = job.log_times, 1.0
        completed.append(Completed(found, share))
    return completed


def _union(parts: Sequence[Array]) -> Array:
    # numpy.unique would do, but its first call imports masked arrays, a tenth of a whole plan.
    return np.array(sorted({row for part in parts for row in part.tolist()}), dtype=int)


def _known(space: Space, past: Sequence[PastJob], most: int) -> list[tuple[Array, Array]]:
    """The rows each job is completed from, the same for all jobs as far as possible."""
    # A fixed shuffle of the space: multiplication by a large odd number, modulo a power of two.
    rank = np.arange(space.size, dtype=np.uint64) * 2654435761 % 2**32
    known = []
    for job in past:
        chosen = np.arange(len(job.rows))
        if len(chosen) > most:
            chosen = np.sort(np.argsort(rank[job.rows], kind="stable")[:most])
        known.append((job.rows[chosen], job.log_times[chosen]))
    return known


def profile(
    completed: Sequence[Completed], rows: Array, families: Sequence[str], expected: Array
) -> Usual:
    """The usual profile over the `rows` (C,) and deviations from it, families weighing equally.

    Where a job is hardly known it hardly counts: there, specifications do.
    """
    usual = expected - expected.mean()
    if not completed:
        return Usual(usual, np.zeros((0, len(usual))), np.zeros((1, len(usual))), np.ones(1))
    known = np.array([job.known[rows] for job in completed])
    off = np.array([job.log_times[rows] for job in completed]) - usual
    off -= ((known * off).sum(1) / np.maximum(known.sum(1), 1e-9))[:, None]
    sisters = Counter(families)
    weights = np.array([1 / sisters[name] for name in families])
    mean = (weights @ (known * off)) / (weights @ known + SPEC_FAMILIES)
    off = known * (off - mean)
    chances = np.append(UNLIKE_FAMILIES, weights)
    return Usual(
        mean=usual + mean,
        factors=off * np.sqrt(weights / len(sisters))[:, None],
        offsets=np.vstack([np.zeros(len(usual)), off]),
        chances=chances / chances.sum(),
    )


def failure_share(past: Sequence[PastJob], size: int) -> Array:
    """Chance (N,) to fail on each configuration, from how often past jobs did."""
    failed = np.zeros(size)
    tried = np.zeros(size)
    for job in past:
        failed[job.failed] += 1
        tried[job.tried] += 1
    overall = (failed.sum() + FAILURES_SEEN) / (tried.sum() + RUNS_SEEN)
    return np.asarray((failed + LOCAL_RUNS * overall) / (tried + LOCAL_RUNS))


def enough(past: Sequence[PastJob]) -> bool:
    """Whether past jobs can say how jobs differ: those of one family all tell the same."""
    return len({job.family for job in past}) > 1


def prior(
    space: Space,
    candidates: Array,
    past: Sequence[PastJob],
    completed: Sequence[Completed],
    unlike: Prior | None = None,
) -> Prior:
    """The prior for a job with these candidate rows (C,), from past jobs and their completions.

    `unlike` is what would be believed of it if it were like no job that there ever was.
    """
    families = [job.family for job in past]
    usual = profile(completed, candidates, families, space.expected[candidates])
    return _of(usual, space, candidates, past, unlike=unlike)


def first_job(
    space: Space,
    candidates: Array,
    past: Sequence[PastJob],
    completed: Sequence[Completed],
    shapes: Shapes,
) -> Prior:
    """The same where past jobs are not `enough`: `shapes` on the candidates stand in for others."""
    families = [job.family for job in past]
    usual = profile(completed, candidates, families, space.expected[candidates])
    usual = _with_shapes(usual, shapes, completed, candidates)
    return _of(usual, space, candidates, past, first=True, gpu=shapes.gpu)


def _of(
    usual: Usual, space: Space, candidates: Array, past: Sequence[PastJob], **more: Any
) -> Prior:
    failure = failure_share(past, space.size)[candidates]
    return Prior(
        space=space.take(candidates), failure=failure, jobs=len(past), **usual._asdict(), **more
    )


def _with_shapes(
    usual: Usual, shapes: Shapes, completed: Sequence[Completed], rows: Array
) -> Usual:
    """Cases of a job unlike all, of the shapes, and of the one family, if there is one.

    Where machines are not known, specifications compare them with the others.
    """
    known = np.isfinite(shapes.log_times).all(0)
    if not known.any():
        return usual
    off = shapes.log_times - shapes.log_times[:, known].mean(1)[:, None]
    weights = shapes.weights / shapes.weights.sum()
    mean = np.where(known, weights @ off, usual.mean - float(usual.mean[known].mean()))
    cases = [np.zeros((1, len(mean))), np.where(known, off - mean, 0.0)]
    chances = [UNLIKE_FAMILIES, *(SHAPE_FAMILIES * weights)]
    for job in completed:
        share = job.known[rows]
        own = job.log_times[rows] - mean
        own = share * (own - (share * own).sum() / max(float(share.sum()), 1e-9))
        cases.append(own[None])
        chances.append(1 / len(completed))
    # Each case is a whole job: there is no direction between them to deviate along.
    none = np.zeros((0, len(mean)))
    return Usual(mean, none, np.vstack(cases), np.array(chances) / sum(chances))
