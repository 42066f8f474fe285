"""How alike the log times of two configurations are expected to be."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from mlbroker.profiles.arrays import Array
from mlbroker.profiles.transfer.space import Space

# The variances that specifications explain.
OF_SPECIFICATIONS = ("linear", "smooth", "additive", "same_kind", "same_family")


@dataclass(frozen=True, slots=True)
class Hyper:
    """How much each way of being alike counts: variances of log time, and two lengths.

    The defaults are the prior means that `fit` starts from; it goes by the order of the fields.
    """

    linear: float = 0.25
    smooth: float = 0.35
    history: float = 1.0
    same_kind: float = 0.15
    same_family: float = 0.15
    own: float = 0.1
    additive: float = 0.3
    smooth_length: float = 1.5
    additive_length: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, float]) -> "Hyper":
        """From a mapping, such as a cache; what is missing or unusable keeps its default."""
        known = {f.name for f in fields(cls)}
        good = {
            name: float(value)
            for name, value in values.items()
            if name in known and np.isfinite(value) and value > 0
        }
        return cls(**good)

    def widened(self, factor: float = 2.0) -> "Hyper":
        """All variances that specifications explain times `factor`: for want of history."""
        return replace(self, **{name: factor * getattr(self, name) for name in OF_SPECIFICATIONS})


def matern(scaled_distance: Array, length: float) -> Array:
    """Matérn 5/2 of a distance already multiplied by the root of five; its shape stays."""
    r = scaled_distance / length
    return np.asarray((1 + r + r * r / 3) * np.exp(-r))


def distance(a: Array, b: Array) -> Array:
    """Root-mean-square distance over features, times the root of five: (n, D), (m, D) -> (n, m)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(5 * np.maximum(squares, 0) / max(a.shape[1], 1)))


def additive(a: Array, b: Array, length: float) -> Array:
    """Mean over features of exponential kernels: a jump along one feature stays possible.

    (n, D), (m, D) -> (n, m).
    """
    total: Array = np.zeros((len(a), len(b)))
    for column in range(a.shape[1]):
        total += np.exp(-np.abs(a[:, column][:, None] - b[:, column][None]) / length)
    return np.asarray(total / max(a.shape[1], 1))


def covariance(space: Space, a: Array, b: Array, hyper: Hyper) -> Array:
    """Covariance (n, m) that specifications explain, between rows `a` (n,) and `b` (m,)."""
    xa, xb = space.x[a], space.x[b]
    k: Array = hyper.linear / max(xa.shape[1], 1) * (xa @ xb.T)
    k += hyper.smooth * matern(distance(xa, xb), hyper.smooth_length)
    k += hyper.additive * additive(xa, xb, hyper.additive_length)
    k += hyper.same_kind * (space.kind[a][:, None] == space.kind[b][None])
    k += hyper.same_family * (space.family[a][:, None] == space.family[b][None])
    k *= space.doubt[a][:, None] * space.doubt[b][None]
    return k


def variance(space: Space, hyper: Hyper) -> Array:
    """The diagonal (N,) of `covariance` of all configurations with themselves."""
    columns = max(space.x.shape[1], 1)
    flat = hyper.smooth + hyper.same_kind + hyper.same_family
    flat += hyper.additive if space.x.shape[1] else 0.0
    return np.asarray((hyper.linear * (space.x**2).sum(1) / columns + flat) * space.doubt**2)
