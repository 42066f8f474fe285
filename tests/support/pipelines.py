"""Random pipelines with a deadline, and their best selection by looking at every one."""

import itertools
import math
import random
from dataclasses import replace

from mlbroker.policies.pipeline.interface import Link, Option, Problem, Selection, Stage
from mlbroker.policies.pipeline.schedule import Simulator, keeps_limits
from mlbroker.policies.pipeline.solve import solve

SETUP_S = 180.0


def random_problem(
    seed: int, stages: int | None = None, options: int = 4, confidence: float | None = None
) -> Problem:
    """Chains and graphs; log-normal times, two places with traffic, machines that may go on, and
    a deadline between the quickest and the cheapest selection's, or a budget as well.
    """
    lots = random.Random(seed)
    number, chain = stages or lots.randint(2, 5), lots.random() < 0.5
    rates: dict[str, float] = {}
    found = []
    for n in range(number):
        earlier = range(max(0, n - 6), n)
        needs = (n - 1,) if chain and n else tuple(j for j in earlier if lots.random() < 0.4)
        base_s, price = lots.uniform(0.3, 5) * 3600, lots.uniform(0.05, 4)
        ways = [_option(lots, rates, f"{n}-{k}", base_s, price) for k in range(options)]
        found.append(Stage(f"s{n}", needs, ways, lots.choice([0, 0, 5.0, 50.0])))
    links = {pair: Link(0.04, 8.0) for pair in (("p0", "p1"), ("p1", "p0"))}
    asked = confidence or lots.choice([0.5, 0.8, 0.9, 0.95, 0.99])
    free = Problem(found, links, None, asked)
    quick, cheap = solve(replace(free, by_time=True)).selection, solve(free).selection
    assert quick is not None
    assert cheap is not None
    between = lots.uniform(0.02, 0.9) * max(cheap.sure_s - quick.sure_s, 0)
    limited = replace(free, deadline_s=quick.sure_s + between + 1)
    if lots.random() < 0.3:
        limited = replace(limited, budget_usd=cheap.sure_usd * lots.uniform(1.02, 1.6))
    return limited


def _option(
    lots: random.Random, rates: dict[str, float], name: str, base_s: float, price: float
) -> Option:
    speed = math.exp(lots.gauss(0, 0.7))
    place = f"p{lots.randrange(2)}"
    machine = f"{place}/m{lots.randrange(3)}"
    if lots.random() < 0.5:
        rate = rates.setdefault(machine, lots.uniform(0.05, 4))
    else:
        machine, rate = f"{place}/own{name}", price * speed ** lots.uniform(0.6, 1.4)
    mean_s, setup_usd = base_s / speed, SETUP_S * rate / 3600
    cost = mean_s / 3600 * rate + setup_usd
    return Option(
        mean_s + SETUP_S, lots.choice([0.02, 0.1, 0.3, 0.6]) * mean_s, cost, cost, SETUP_S,
        rate / 3600, place, machine, SETUP_S, setup_usd, setup_usd,
    )  # fmt: skip


def brute_force(problem: Problem) -> Selection | None:
    """The best of all selections."""
    simulator = Simulator(problem)
    every = itertools.product(*(range(len(stage.options)) for stage in problem.stages))
    kept = [s for s in map(simulator.selection, every) if keeps_limits(problem, s)]
    return min(kept, key=lambda selection: selection.score, default=None)
