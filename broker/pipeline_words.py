"""A pipeline's plan in words: what was asked, what it costs, what would do where nothing does."""

import math
from decimal import Decimal

from mlbroker.broker.words import count, duration, mass, money
from mlbroker.policies.pipeline.candidates import place_of
from mlbroker.policies.pipeline.interface import Solution
from mlbroker.policies.pipeline.planning import Planned
from mlbroker.profiles.job import Job


def ways_out(solution: Solution) -> list[str]:
    """The least deadline and the least budget that would do, each beside the other limit."""
    ways = []
    if solution.least_deadline_s is not None:
        ways.append(f"a deadline of {duration(solution.least_deadline_s, least=True)} would do")
    if solution.least_budget_usd is not None:
        least = Decimal(str(solution.least_budget_usd))
        ways.append(f"a budget of {money(least, least=True)} USD would do")
    return ways


def title(limits: Job, plan: Planned) -> str:
    """What was asked of the whole."""
    parts = [count(len(plan.problem.stages), "stage")]
    deadline_s = plan.problem.deadline_s
    if deadline_s is not None:
        parts.append(f"deadline {duration(deadline_s)} at {limits.confidence * 100:.4g}%")
    if limits.budget_usd is not None:
        parts.append(f"budget {limits.budget_usd:,} USD")
    return f"{limits.name}: {', '.join(parts)}"


def total_words(limits: Job, plan: Planned) -> str:
    """What the choice costs and how long it takes; of a plan that has one."""
    selection = plan.solution.selection
    assert selection is not None
    text = (
        f"In all {money(plan.cost_usd)} USD, in nine cases of ten at most"
        f" {usd(selection.p90_usd)} USD; {duration(selection.duration_s)}"
    )
    sure = f"{limits.confidence * 100:.4g}%"
    text += f", {sure} sure within {duration(selection.sure_s, least=True)}"
    if selection.chance is not None:
        text += f"; in time with {min(selection.chance, 0.999):.1%}"
    kg = plan.carbon_kgco2e
    return text + (f"; {mass(kg)} CO2e." if kg is not None else ".")


def traffic_words(plan: Planned) -> list[str]:
    """What is sent between places, as it may be more than the machines cost."""
    lines, chosen, problem = [], plan.chosen, plan.problem
    for number, stage in enumerate(problem.stages):
        for before in stage.needs:
            gb = problem.stages[before].sends_gb
            source, target = (place_of(chosen[n].quote) for n in (before, number))
            if not gb or source == target:
                continue
            price, seconds = problem.link(before, source, target)
            lines.append(
                f"{problem.stages[before].name} → {stage.name}: {gb:g} GB from {source} to"
                f" {target}, {usd(price)} USD and {duration(seconds)}."
            )
    return lines


def proof_words(plan: Planned) -> str:
    """How near to the best the choice is known to be."""
    solution, among = plan.solution, count(sum(map(len, plan.quotes)), "quote")
    if solution.timed_out and solution.gap == math.inf:
        return f"Time ran out among {among}, with no bound on how much better others are."
    if solution.timed_out:
        return f"Time ran out at a proved gap of {solution.gap:.2%}, among {among}."
    if solution.gap == math.inf:
        return f"The quickest of {among}: hardly anything else is in time."
    return f"Chosen among {among}, proved to {max(solution.gap, 1e-4):.2%}."


def usd(amount: float) -> str:
    """An amount that was reckoned, not billed."""
    return money(Decimal(str(round(amount, 6))))
