"""How to choose a configuration: mlbroker's way, and what people do. The registry is the CLI's.

A new strategy is a function of a bench, the past and a random generator, and one entry here.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from mlbroker.broker.backtest.bench import Bench
from mlbroker.broker.backtest.past import Past
from mlbroker.profiles import value_of_information as next_probe
from mlbroker.profiles.arrays import Array

# Variance of a job's scale before anything is known of it.
UNKNOWN_SCALE = 25.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen candidate (None: nothing works), and what was believed of log times at the end.

    `decision_s` are the seconds each decision took.
    """

    chosen: int | None
    mean: Array | None = None
    variance: Array | None = None
    decision_s: tuple[float, ...] = ()


Strategy = Callable[[Bench, Past, np.random.Generator], Choice]


def auto(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Probe while a probe is worth its price, then commit to the least expected loss."""
    terms = next_probe.Terms(bench.price_per_hour_usd, bench.setup_s, bench.deadline_s)
    hyper = past.hyper  # fitted once for the family: no part of a decision
    began = perf_counter()
    belief = next_probe.begin(past.prior(bench.rows), hyper, terms)
    spans = []
    while True:
        step = next_probe.next_step(belief, terms)
        spans.append(perf_counter() - began)
        if not step.probe or step.candidate is None:
            break
        time_s = bench.probe(step.candidate)
        began = perf_counter()
        if time_s is None:
            belief.fail(step.candidate)
        else:
            belief.observe(step.candidate, math.log(time_s))
    variance = belief.reported if belief.scaled else belief.reported + UNKNOWN_SCALE
    return Choice(step.candidate, belief.mean, variance, tuple(spans))


def random_3(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Try three at random, take the best of them."""
    return _best_of(bench, rng.choice(len(bench), min(3, len(bench)), replace=False).tolist())


def all_probed(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Try everything, take the best."""
    return _best_of(bench, range(len(bench)))


def cheapest_per_hour(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Take what costs least an hour."""
    return Choice(int(bench.price_per_hour_usd.argmin()))


def fastest(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Take what was fastest for past jobs on average; without a past, what costs most an hour."""
    pace = past.mean_pace()[bench.rows]
    if not np.isfinite(pace).any():
        return Choice(int(bench.price_per_hour_usd.argmax()))
    return Choice(int(np.where(np.isfinite(pace), pace, np.inf).argmin()))


def most_usual(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Take what most past jobs ran on; among equals the one of middle price."""
    runs = past.runs()[bench.rows]
    price = np.log(bench.price_per_hour_usd)
    off = np.abs(price - np.median(price))
    return Choice(int(np.lexsort((off, -runs))[0]))


def best_fixed(bench: Bench, past: Past, rng: np.random.Generator) -> Choice:
    """Take what was cheapest for past jobs on average, without a look at this one."""
    ratio = past.mean_cost_ratio()[bench.rows]
    if not np.isfinite(ratio).any():
        return most_usual(bench, past, rng)
    return Choice(int(np.where(np.isfinite(ratio), ratio, np.inf).argmin()))


STRATEGIES: dict[str, Strategy] = {
    "auto": auto,
    "random-3": random_3,
    "most-usual": most_usual,
    "fastest": fastest,
    "cheapest-per-hour": cheapest_per_hour,
    "best-fixed": best_fixed,
    "all-probed": all_probed,
}


def _best_of(bench: Bench, candidates: Iterable[int]) -> Choice:
    """Probe all of them: the cheapest in time, else the fastest."""
    seen = [(candidate, bench.probe(candidate)) for candidate in candidates]
    runs = [(candidate, bench.setup_s + time_s) for candidate, time_s in seen if time_s is not None]
    limit = math.inf if bench.deadline_s is None else bench.deadline_s
    in_time = [(c, run_s) for c, run_s in runs if run_s <= limit]
    if in_time:
        return Choice(min(in_time, key=lambda run: run[1] * bench.price_per_hour_usd[run[0]])[0])
    return Choice(min(runs, key=lambda run: run[1])[0] if runs else None)
