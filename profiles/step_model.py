"""How long a training step takes on so many GPUs at such a batch, from a few measurements.

| symbol | means | unit |
| --- | --- | --- |
| T | time of an optimizer step: s·A + (A^g + N^g)^(1/g), 1 <= g <= 10 | s |
| s | accumulated passes before the last one | |
| A | forward and backward of one local batch: a + β·b | s |
| b | local batch: samples of one GPU in one pass | samples |
| N | exchange of gradients: n + m·max(K - 2, 0); none on one GPU; other n, m across nodes | s |
| K | GPUs | |

Formulas: Qiao et al., "Pollux", OSDI 2021, section 3.2, whose gamma is g, whose alpha is a.

The belief is a Gaussian on the logarithms of the parameters of each GPU type, and on how far each
layout is off the formula. What a job shares over types, and what types share over jobs, comes from
past jobs; it is linearised at the best fit (Laplace), and drawn from. So what was never measured
keeps the width that the past allows: multi-GPU times before a multi-GPU probe above all.

Imports numpy and scipy: import it inside functions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mlbroker.profiles.arrays import Array

# The parameters of one GPU type, logarithms: β·b_ref, a, and n, m within and across nodes.
PER_TYPE = 6
_BETA, _ALPHA, _INTRA, _INTRA_MORE, _INTER, _INTER_MORE = range(PER_TYPE)
# Without a past: what the others are against β·b_ref, logarithms. Guesses, as wide as said below.
_GUESSED = np.array([0.0, -0.7, -1.0, -3.5, 0.0, -3.0])
# Standard deviations of logarithms. Over jobs, common to all GPU types:
_SCALE, _OVERHEAD, _SYNC, _SYNC_MORE, _ACROSS = 3.0, 1.0, 1.0, 0.7, 0.5
# … of one GPU type against the others: compute, exchange, each parameter alone; a type never seen.
_TYPE, _TYPE_SYNC, _ALONE, _NEVER_SEEN = 0.25, 0.4, 0.15, 0.6
# … of a layout's times against the formula, and of a measurement.
_OFF, _MEASURED = 0.1, 0.03
# Without a past the guesses are that much wider.
_WIDER = 1.5
# g = 1 + 9 / (1 + exp(-parameter)).
_GAMMA_MEAN, _GAMMA_SIGMA = -2.0, 1.0


class Layout(NamedTuple):
    """GPUs of one type on so many nodes; `placement` tells apart how they lie on them."""

    gpu: str
    nodes: int
    gpus: int
    placement: str = ""


class StepAt(NamedTuple):
    """A step on a layout: samples a GPU and pass, and passes before the last (`accumulated`)."""

    layout: Layout
    local_batch: float
    accumulated: int = 0


class Timed(NamedTuple):
    """A measured step: its whole time, and of that the time without the exchange of gradients."""

    at: StepAt
    step_time_s: float
    compute_time_s: float | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The parameters of a past job by GPU type, NaN where nothing tells; see `PER_TYPE`."""

    by_type: Mapping[str, Array]
    gamma: float


@dataclass(frozen=True, slots=True)
class Space:
    """What a job may run on; `reference_batch` is a local batch in the middle of what fits.

    `log_speed` of a GPU type, from data sheets, matters for types that no past job ran on.
    """

    layouts: tuple[Layout, ...]
    reference_batch: float
    log_speed: Mapping[str, float] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        """GPU types in the order of their names."""
        return tuple(sorted({layout.gpu for layout in self.layouts}))


class StepModel:
    """The belief about a job's step times; `fit` returns a narrower one."""

    def __init__(self, space: Space, past: Sequence[Fitted] = ()) -> None:
        self._space = space
        self._types = {name: at for at, name in enumerate(space.types)}
        self._off = {layout: at for at, layout in enumerate(space.layouts)}
        self._mean = _prior_mean(space, past)
        self._root = np.linalg.cholesky(_prior_covariance(space, past))
        self._best = np.zeros(len(self._mean))
        self._spread = np.eye(len(self._mean))

    def fit(self, measured: Sequence[Timed]) -> "StepModel":
        """The belief after these measurements: regularised least squares on log times."""
        from scipy.optimize import least_squares

        where, logs = self._rows(measured)

        def misfit(whitened: Array) -> Array:
            modelled = self._log_times(whitened[None, :], where)[0]
            return np.concatenate([(modelled - logs) / _MEASURED, whitened])

        def slopes(whitened: Array) -> Array:
            step = 1e-5
            nudged = whitened + step * np.eye(len(whitened))
            moved = self._log_times(np.vstack([whitened[None, :], nudged]), where)
            return np.vstack([(moved[1:] - moved[0]).T / (step * _MEASURED), np.eye(len(whitened))])

        found = least_squares(misfit, self._best, jac=slopes, max_nfev=60)
        narrower = object.__new__(StepModel)
        narrower.__dict__.update(self.__dict__)
        narrower._best = found.x
        precision = found.jac.T @ found.jac
        narrower._spread = np.linalg.cholesky(np.linalg.inv(precision))
        return narrower

    def log_times(self, steps: Sequence[StepAt], normals: Array) -> Array:
        """Draws of log step times, of shape (draws, steps), from normals (draws, `size`)."""
        worlds = self._best + normals @ self._spread.T
        return self._log_times(worlds, self._places(steps))

    @property
    def size(self) -> int:
        """How many parameters are unknown."""
        return len(self._mean)

    def as_past(self, measured: Sequence[Timed]) -> Fitted:
        """What other jobs may know of this one, fitted to its measurements."""
        theta = self._mean + self._root @ self._best
        by_type = {}
        for name, at in self._types.items():
            mine = [timed.at.layout for timed in measured if timed.at.layout.gpu == name]
            if not mine:
                continue
            values = theta[PER_TYPE * at : PER_TYPE * (at + 1)].copy()
            if not any(one.nodes == 1 and one.gpus > 1 for one in mine):
                values[[_INTRA, _INTRA_MORE]] = np.nan
            if not any(one.nodes > 1 for one in mine):
                values[[_INTER, _INTER_MORE]] = np.nan
            by_type[name] = values
        return Fitted(by_type, float(theta[PER_TYPE * len(self._types)]))

    def _rows(self, measured: Sequence[Timed]) -> tuple["_Places", Array]:
        """Whole steps, and the passes alone where their time was measured too."""
        whole = [timed.at for timed in measured]
        logs = [math.log(timed.step_time_s) for timed in measured]
        apart = [timed for timed in measured if timed.compute_time_s is not None]
        places = self._places([*whole, *(timed.at for timed in apart)])
        alone = np.arange(len(places.gpus)) >= len(whole)
        logs += [math.log(timed.compute_time_s or 1.0) for timed in apart]
        return places._replace(alone=alone), np.array(logs)

    def _places(self, steps: Sequence[StepAt]) -> "_Places":
        return _Places(
            np.array([PER_TYPE * self._types[step.layout.gpu] for step in steps]),
            np.array([step.layout.gpus for step in steps]),
            np.array([step.layout.nodes > 1 for step in steps]),
            np.array([step.local_batch for step in steps]) / self._space.reference_batch,
            np.array([step.accumulated for step in steps]),
            np.array([self._off[step.layout] for step in steps]) + PER_TYPE * len(self._types) + 1,
            np.zeros(len(steps), dtype=bool),
        )

    def _log_times(self, whitened: Array, at: "_Places") -> Array:
        """Of shape (worlds, steps)."""
        theta = np.clip(self._mean + whitened @ self._root.T, -40.0, 40.0)
        first = at.first
        compute = np.exp(theta[:, first + _ALPHA]) + np.exp(theta[:, first + _BETA]) * at.batch
        fixed = np.where(at.across, theta[:, first + _INTER], theta[:, first + _INTRA])
        more = np.where(at.across, theta[:, first + _INTER_MORE], theta[:, first + _INTRA_MORE])
        exchange = np.exp(fixed) + np.exp(more) * np.maximum(at.gpus - 2, 0)
        exchange = np.where((at.gpus > 1) & ~at.alone, exchange, 1e-30)
        gamma = 1 + 9 / (1 + np.exp(-theta[:, PER_TYPE * len(self._types)]))[:, None]
        log_compute = np.log(compute)
        last = np.logaddexp(gamma * log_compute, gamma * np.log(exchange)) / gamma
        return np.asarray(np.log(at.before * compute + np.exp(last)) + theta[:, at.off])


class _Places(NamedTuple):
    """Steps as arrays; `alone`: the passes without the exchange."""

    first: Array
    gpus: Array
    across: Array
    batch: Array
    before: Array
    off: Array
    alone: Array


def _prior_mean(space: Space, past: Sequence[Fitted]) -> Array:
    types = space.types
    against = _against_compute(past)
    speeds = _compute_of_types(space, past)
    rows = [speeds[at] + against.get(name, against[""]) for at, name in enumerate(types)]
    gamma = [job.gamma for job in past]
    middle = (_GAMMA_MEAN + sum(gamma)) / (1 + len(gamma))
    return np.concatenate([*rows, [middle], np.zeros(len(space.layouts))])


def _compute_of_types(space: Space, past: Sequence[Fitted]) -> Array:
    """log β·b_ref of each type against the mean of all: jobs differ by a constant, types by
    another; what data sheets say counts as much as one past job does, and less than two.
    """
    types = space.types
    said = np.array([-0.7 * space.log_speed.get(name, 0.0) for name in types])
    rows, values = [], []
    width = len(types) + len(past)
    for number, job in enumerate(past):
        for at, name in enumerate(types):
            if name in job.by_type:
                row = np.zeros(width)
                row[at] = row[len(types) + number] = 1 / _TYPE
                rows.append(row)
                values.append(job.by_type[name][_BETA] / _TYPE)
    for at in range(len(types)):
        row = np.zeros(width)
        row[at] = 1 / _NEVER_SEEN
        rows.append(row)
        values.append(said[at] / _NEVER_SEEN)
    found, *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    offsets = found[: len(types)]
    return np.asarray(offsets - offsets.mean())


def _against_compute(past: Sequence[Fitted]) -> dict[str, Array]:
    """Each parameter against β·b_ref by GPU type, and under "" for a type that no past job ran on.

    A type's own share counts the more, the more jobs ran on it.
    """
    names = sorted({name for job in past for name in job.by_type})
    seen = {
        name: np.array([job.by_type[name] - job.by_type[name][_BETA] for job in past
                        if name in job.by_type])
        for name in names
    }  # fmt: skip
    of_all = _mean_known(np.vstack(list(seen.values())), _GUESSED) if seen else _GUESSED
    shares: dict[str, Array] = {"": of_all}
    for name, rows in seen.items():
        count = (~np.isnan(rows)).sum(0)
        mine = _mean_known(rows, of_all)
        shares[name] = of_all + count / (count + 1) * (mine - of_all)
    return shares


def _mean_known(rows: Array, otherwise: Array) -> Array:
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0.0).sum(0)
    return np.asarray(np.where(known.any(0), total / np.maximum(known.sum(0), 1), otherwise))


def _prior_covariance(space: Space, past: Sequence[Fitted]) -> Array:
    types, of_types = space.types, PER_TYPE * len(space.types)
    size = of_types + 1 + len(space.layouts)
    wider = math.sqrt(1 + 1 / len(past)) if past else _WIDER
    covariance = np.zeros((size, size))

    def share(sigma: float, classes: Sequence[int], kinds: Sequence[int]) -> None:
        direction = np.zeros(size)
        direction[[PER_TYPE * at + one for at in kinds for one in classes]] = sigma
        covariance[:] += np.outer(direction, direction)

    everywhere, exchange = range(len(types)), (_INTRA, _INTRA_MORE, _INTER, _INTER_MORE)
    share(_SCALE, range(PER_TYPE), everywhere)
    share(_OVERHEAD * wider, [_ALPHA], everywhere)
    share(_SYNC * wider, exchange, everywhere)
    share(_SYNC_MORE * wider, [_INTRA_MORE, _INTER_MORE], everywhere)
    share(_ACROSS * wider, [_INTER, _INTER_MORE], everywhere)
    known = {name for job in past for name in job.by_type}
    for at, name in enumerate(types):
        share(_TYPE * wider if name in known else _NEVER_SEEN, range(PER_TYPE), [at])
        share(_TYPE_SYNC * wider, exchange, [at])
    variances = np.concatenate(
        [
            np.full(of_types, _ALONE**2),
            [_GAMMA_SIGMA**2],
            np.full(len(space.layouts), _OFF**2),
        ]
    )
    return np.asarray(covariance + np.diag(variances))
