"""Searches for a capacity on desks that are played and not waited for."""

import random

from tests.support.known_servers import SHARE, TOKEN_S, WITHIN_S, Desk

from mlbroker.profiles.capacity import CapacitySearch, Seen, Window
from mlbroker.profiles.desk import Asked


def played(desk: Desk, window: Window, chance: random.Random) -> Seen:
    """What a generator would have seen of it; the machine adds a millisecond or two."""
    desk.free, desk.inside = [], []
    judged = bad = good_ones = 0
    asked: list[Asked] = []
    due_s, stopped = chance.expovariate(window.rate_rps), False
    while (due_s < window.seconds or not asked) and not stopped:
        done_s = desk.arrive(due_s)
        ended_s = (
            due_s if done_s is None else done_s + desk.tokens * TOKEN_S
        ) + chance.random() * 0.002
        asked.append(Asked(due_s, ended_s, 0.0, done_s is None))
        good = done_s is not None and ended_s - due_s <= WITHIN_S
        bad += not good
        if due_s >= window.skip_s:
            judged += 1
            good_ones += good
        stopped = bad > window.most_bad
        due_s += chance.expovariate(window.rate_rps)
    return Seen(window.rate_rps, max(judged, 1), good_ones, stopped, asked)


def searched(desk: Desk, seed: int, budget_s: float = 150.0) -> CapacitySearch:
    """A whole search on the desk."""
    desk.chance = random.Random(seed + 1000)
    search, chance = CapacitySearch(SHARE, WITHIN_S, 0.02, budget_s), random.Random(seed)
    while (window := search.next()) is not None:
        search.add(played(desk, window, chance), window.seconds)
    return search
