"""Loads a service at one rate after the other, until what it serves is known."""

import time
from collections import Counter
from typing import Any, Callable, Dict, List, Optional, Tuple

from .capacity import CapacitySearch, Seen, Window
from .desk import Asked
from .window import Load

# What one request takes by itself.
ALONE = Window(1.0, 5.0, 0.0, 5, settle=False)
SETTLE_LIMIT_S = 10.0
# Who makes the load is the limit, where it is itself late by so much of the objective.
LATE_ITSELF = 0.2

Told = Dict[str, Any]


class Gone(Exception):
    """The service ended while it was loaded."""


class Search:
    """The windows of one service. Told is what the broker hears; `alive` says whether it runs."""

    def __init__(self, load: Load, alive: Callable[[], bool], say: Callable[..., None]) -> None:
        self._load = load
        self._alive = alive
        self._say = say
        self._kinds: "Counter[str]" = Counter()
        self._tokens: Optional[float] = None
        self._cores = 0.0

    async def run(self, share: float, within_s: float, budget_s: float) -> Told:
        """The capacity as a message: `capacity`, or `never` where no rate met the objective."""
        last, _ = await self._window(ALONE)
        if last["good"] == 0:
            return self._never(last)
        search = CapacitySearch(share, within_s, last["p50_s"] or within_s, budget_s)
        while True:
            window = search.next()
            if window is None:
                break
            last, asked = await self._window(window)
            search.add(
                Seen(window.rate_rps, last["judged"], last["good"], last["stopped"], asked),
                last["took_s"],
                generator_is_late=last["lag_p95_s"] > LATE_ITSELF * within_s,
            )
            told = {key: last[key] for key in ("rate_rps", "sent_s", "judged", "good")}
            self._say(window=told)
        found = search.result()
        if found is None:
            return self._never(last)
        more = {"kinds": dict(self._kinds), "tokens": self._tokens, "load_cores": self._cores}
        return {"capacity": {**found._asdict(), **more}}

    async def _window(self, window: Window) -> Tuple[Told, List[Asked]]:
        if window.settle:
            await self._load.settle(SETTLE_LIMIT_S)
        began_s = time.process_time()
        told = await self._load.window(*window[:4])
        if not self._alive():
            raise Gone
        self._kinds.update(told["kinds"])
        self._tokens = told["tokens"] or self._tokens
        # Of the windows the last are at the capacity.
        self._cores = (time.process_time() - began_s) / told["took_s"]
        asked = [
            Asked(due / 1e6, done / 1e6, tail / 1e6, bool(failed))
            for due, done, tail, failed in told.pop("asked")
        ]
        return told, asked

    def _never(self, last: Told) -> Told:
        more = {key: last[key] for key in ("rate_rps", "p50_s")}
        return {"never": {**more, "kinds": dict(self._kinds)}}
