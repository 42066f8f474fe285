"""Learns from past jobs how much each kind of likeness counts (see `kernel.Hyper`).

The most probable hyperparameters, given how well every family of past jobs would have been
predicted from the others. Run once per change of the history; what it returns is cached.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.history import ANY_SCALE, NOISE, Completed, PastJob, profile
from mlbroker.profiles.transfer.kernel import Hyper, distance, matern
from mlbroker.profiles.transfer.space import Space

NAMES = tuple(field.name for field in fields(Hyper))
# Spread of each logarithm around its default.
SPREADS = np.array([0.7, 0.7, 0.5, 0.7, 0.7, 0.7, 0.7, 0.4, 0.4])
# No parameter goes farther from its default than a factor of about twelve.
BOUND = 2.5
MAX_POINTS = 40
MAX_JOBS = 16
# Relative change that stands for a derivative by length.
NUDGE = 1e-4
# Steps of resilient propagation, and its usual constants.
ROUNDS, FIRST_STEP, LONGEST_STEP, GROW, SHRINK = 24, 0.3, 0.6, 1.2, 0.5


@dataclass(frozen=True, slots=True)
class _Lesson:
    """One past job as if it were new: residuals from what the others let expect, and likenesses.

    `residual` (P, cases) has a column for each of the cases of `Prior`, log_chances (cases,) their
    weight. The likenesses are (P, P), `gaps` (P, P, D).
    """

    weight: float
    residual: Array
    log_chances: Array
    linear: Array
    far: Array
    gaps: Array
    same_kind: Array
    same_family: Array
    history: Array


def fit(
    space: Space, past: Sequence[PastJob], completed: Sequence[Completed], seed: int = 0
) -> Hyper:
    """The most probable hyperparameters. With fewer than two families: the defaults."""
    start = Hyper()
    if len({job.family for job in past}) < 2:
        return start
    lessons = _lessons(space, past, completed, np.random.default_rng(seed))
    defaults = np.log([getattr(start, name) for name in NAMES])
    found = _climb(lessons, defaults)
    return Hyper(**dict(zip(NAMES, np.exp(found).tolist(), strict=True)))


def _lessons(
    space: Space, past: Sequence[PastJob], completed: Sequence[Completed], rng: np.random.Generator
) -> list[_Lesson]:
    sisters = Counter(job.family for job in past)
    lessons = []
    chosen = list(range(len(past)))
    if len(past) > MAX_JOBS:
        chosen = sorted(rng.choice(len(past), MAX_JOBS, replace=False).tolist())
    for number in chosen:
        job = past[number]
        if len(job.rows) < 2:
            continue
        points = np.arange(len(job.rows))
        if len(points) > MAX_POINTS:
            points = np.sort(rng.choice(points, MAX_POINTS, replace=False))
        others = [other for other, o in enumerate(past) if o.family != job.family]
        everywhere = job.tried
        usual = profile(
            [completed[other] for other in others],
            everywhere,
            [past[other].family for other in others],
            space.expected[everywhere],
        )
        rows = job.rows[points]
        places = np.searchsorted(everywhere, rows)
        x = space.x[rows]
        lessons.append(
            _Lesson(
                # Sister jobs are neither as good as independent ones nor all the same.
                weight=sisters[job.family] ** -0.5,
                residual=job.log_times[points][:, None] - (usual.mean + usual.offsets)[:, places].T,
                log_chances=np.log(usual.chances),
                linear=x @ x.T / max(x.shape[1], 1),
                far=distance(x, x),
                gaps=np.abs(x[:, None] - x[None]),
                same_kind=(space.kind[rows][:, None] == space.kind[rows][None]).astype(float),
                same_family=(space.family[rows][:, None] == space.family[rows][None]).astype(float),
                history=usual.factors[:, places].T @ usual.factors[:, places],
            )
        )
    return lessons


def _climb(lessons: Sequence[_Lesson], defaults: Array) -> Array:
    """Resilient propagation: each parameter keeps its own pace, only signs of slopes count."""
    at = defaults.copy()
    step = np.full(len(at), FIRST_STEP)
    before = np.zeros(len(at))
    best, least = at, np.inf
    for _ in range(ROUNDS):
        loss, slope = _loss(at, lessons, defaults)
        if loss < least:
            best, least = at, loss
        turned = slope * before < 0
        step = np.minimum(np.where(turned, step * SHRINK, step * GROW), LONGEST_STEP)
        slope = np.where(turned, 0.0, slope)
        at = np.clip(at - step * np.sign(slope), defaults - BOUND, defaults + BOUND)
        before = slope
        if step.max() < 1e-2:
            break
    return best


def _loss(at: Array, lessons: Sequence[_Lesson], defaults: Array) -> tuple[float, Array]:
    """Negative log posterior, and its slope along NAMES, (9,) as `at` is."""
    values = dict(zip(NAMES, np.exp(at).tolist(), strict=True))
    loss, slope = 0.0, np.zeros(len(at))
    for lesson in lessons:
        n = len(lesson.residual)
        parts = _parts(lesson, values)
        k = sum(parts[:7], np.full((n, n), ANY_SCALE)) + NOISE**2 * np.eye(n)
        inverse = np.linalg.inv(k)
        explained = inverse @ lesson.residual
        fits = lesson.log_chances - 0.5 * (lesson.residual * explained).sum(0)
        best = float(fits.max())
        share = np.exp(fits - best)
        likely = best + float(np.log(share.sum()))
        share /= share.sum()
        half = 0.5 * (inverse - (explained * share) @ explained.T)
        _, log_det = np.linalg.slogdet(k)
        loss += lesson.weight * (0.5 * float(log_det) - likely)
        slope += lesson.weight * np.array([float((half * part).sum()) for part in parts])
    away = (at - defaults) / SPREADS
    return loss + 0.5 * float(away @ away), slope + away / SPREADS


def _parts(lesson: _Lesson, values: dict[str, float]) -> list[Array]:
    """The terms (P, P) of the covariance in the order of NAMES, then derivatives by lengths."""
    smooth = matern(lesson.far, values["smooth_length"])
    smoother = matern(lesson.far, values["smooth_length"] * (1 + NUDGE))
    steps = _steps(lesson.gaps, values["additive_length"])
    longer = _steps(lesson.gaps, values["additive_length"] * (1 + NUDGE))
    return [
        values["linear"] * lesson.linear,
        values["smooth"] * smooth,
        values["history"] * lesson.history,
        values["same_kind"] * lesson.same_kind,
        values["same_family"] * lesson.same_family,
        values["own"] * np.eye(len(lesson.residual)),
        values["additive"] * steps,
        values["smooth"] * (smoother - smooth) / NUDGE,
        values["additive"] * (longer - steps) / NUDGE,
    ]


def _steps(gaps: Array, length: float) -> Array:
    if not gaps.shape[2]:
        return np.zeros(gaps.shape[:2])
    return np.asarray(np.exp(-gaps / length).mean(2))
