"""Which ways to do a stage no other is better than: all but these can be forgotten."""

from collections.abc import Mapping, Sequence

from mlbroker.policies.pipeline.interface import Option, Problem

Row = tuple[float, ...]


def undominated(
    values: Sequence[Row],
    gains: Sequence[Row],
    losses: "Mapping[tuple[str, str], Row] | None" = None,
    groups: Sequence[str] = (),
) -> list[int]:
    """The numbers of the rows that no other row beats, smaller being better, in their order.

    A row may come out smaller by up to its `gains`, of which nobody knows yet, and a row of one
    group in the place of one of another may come out larger by `losses[its group, the other's]`:
    a row is out only if another is not above it in any column even then.
    """
    if not values:
        return []
    import numpy as np

    table = np.array(values, dtype=float).reshape(len(values), -1)
    least = table - np.array(gains, dtype=float).reshape(table.shape)
    order = np.lexsort(table.T[::-1])
    kept: list[int] = []
    none = np.zeros(table.shape[1])
    # For each group the kept rows as they may come out in its rows' place.
    places = sorted(set(groups)) if losses else [""]
    found = {place: np.empty_like(table) for place in places}
    for row in order.tolist():
        others = found[groups[row] if losses else ""][: len(kept)]
        if len(kept) and bool(np.any(np.all(others <= least[row], axis=1))):
            continue
        for place in places:
            lost = losses.get((groups[row], place), none) if losses else none
            found[place][len(kept)] = table[row] + lost
        kept.append(row)
    return sorted(kept)


def front(problem: Problem, number: int) -> list[int]:
    """The options of a stage that may be in the best selection: one is out if another is no worse
    in score, cost, mean and spread, whatever machines and places the neighbours get.
    """
    stage = problem.stages[number]
    before = problem.chained[number]
    after = next((n for n in problem.followers[number] if problem.chained[n] == number), None)
    left, following = ([] if n is None else problem.stages[n].options for n in (before, after))
    can_be_left = {option.machine for option in left}
    can_follow = {option.machine: option for option in following}
    capped = problem.budget_usd is not None
    timed = problem.by_time or problem.deadline_s is not None

    def row(mean_s: float, sd_s: float, cost: float, score: float, usd_sd: float) -> Row:
        found = [score, *((mean_s,) if timed else ())]
        found += [sd_s] if problem.deadline_s is not None else []
        return tuple(found + ([cost, usd_sd] if capped else []))

    def gain(option: Option) -> Row:
        saved = [option] if option.machine and option.machine in can_be_left else []
        if option.machine and option.machine in can_follow:
            saved = [*saved, can_follow[option.machine]]
        return row(
            sum(o.setup_s for o in saved), 0.0,
            sum(o.setup_usd for o in saved), sum(o.setup_score for o in saved), 0.0,
        )  # fmt: skip

    values = [
        row(o.mean_s, o.sd_s, o.cost_usd, o.score, o.usd_per_s * o.sd_s) for o in stage.options
    ]
    losses = {
        pair: row(seconds, 0.0, usd, problem.traffic_weight * usd, 0.0)
        for pair, (usd, seconds) in _losses(problem, number).items()
    }
    places = [option.place for option in stage.options]
    return undominated(values, [gain(option) for option in stage.options], losses, places)


def _losses(problem: Problem, number: int) -> dict[tuple[str, str], tuple[float, float]]:
    """How much dearer and slower traffic may come out from one place of a stage than from another,
    wherever its neighbours are: (this place, in place of that) -> USD and seconds.
    """
    stage = problem.stages[number]
    sends = stage.sends_gb and problem.followers[number]
    receives = [before for before in stage.needs if problem.stages[before].sends_gb]
    places = sorted({option.place for option in stage.options})
    if not problem.links or not (sends or receives) or len(places) < 2:
        return {}

    def worst(this: str, that: str, part: int) -> float:
        total = 0.0
        for after in problem.followers[number] if sends else ():
            ends = {option.place for option in problem.stages[after].options}
            total += max(
                problem.link(number, this, end)[part] - problem.link(number, that, end)[part]
                for end in ends
            )
        for before in receives:
            ends = {option.place for option in problem.stages[before].options}
            total += max(
                problem.link(before, end, this)[part] - problem.link(before, end, that)[part]
                for end in ends
            )
        return max(0.0, total)

    return {
        (this, that): (worst(this, that, 0), worst(this, that, 1))
        for this in places
        for that in places
        if this != that
    }
