"""What looking at gradients takes of the thread that trains, so that it stays rare.

The looking's own code is only a part: while gradients are looked at, autograd calls Python for each
of them, and copies what it else hands on. So the steps of a look are held to others of the job.
"""

import time
from collections import deque
from typing import Deque, Iterable, List, Optional

# Besides what the first looks take, which come before there is a time to share.
MOST_SHARE, FREE_S = 0.005, 0.02
# Of so many steps that were not looked at, the latest, the middle one is what a step takes.
KEPT_STEPS = 8


class Cost:
    """Seconds that were spent on looks, and whether there may be another."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._began_s: Optional[float] = None
        self._steps: Deque[float] = deque(maxlen=KEPT_STEPS)
        self._entered_s = 0.0
        self._step_began_s: Optional[float] = None
        self._looked: List[float] = []
        self._last_s = self._before_s = 0.0

    def begin(self) -> None:
        """The time that is shared runs from here, if it does not run yet."""
        if self._began_s is None:
            self._began_s = time.perf_counter()

    def enter(self) -> None:
        """Looking's own code begins. The clock is this thread's alone: that others get the
        processor is no cost of ours.
        """
        self._entered_s = time.thread_time()

    def leave(self) -> None:
        """It ends."""
        self.spent_s += time.thread_time() - self._entered_s

    def allows_a_look(self) -> bool:
        """Whether less than the share was spent."""
        assert self._began_s is not None
        took_s = time.perf_counter() - self._began_s
        return self.spent_s <= FREE_S + MOST_SHARE * took_s

    def knows_a_step(self) -> bool:
        """At the end of a step that was not looked at: whether its beginning was seen, too. Else
        the next one tells what a step takes.
        """
        began_s = self._step_began_s
        if began_s is None:
            self._step_began_s = self._entered_s
            return False
        self._steps.append(self._entered_s - began_s)
        return True

    def no_look(self) -> None:
        """The coming step is neither looked at nor held to those that are."""
        self._step_began_s = None

    def open(self) -> None:
        """At the end of a step: the next ones are looked at."""
        self._step_began_s = None
        self._looked, self._last_s = [], self._entered_s
        self._before_s = self.spent_s

    def looked(self) -> None:
        """At the end of a step that was looked at."""
        self._looked.append(self._entered_s - self._last_s)
        self._last_s = self._entered_s

    def close(self) -> None:
        """That step was the last of them: what they took more than others is spent, seen or not."""
        looked, self._looked = self._looked, []
        if looked and self._steps:
            more_s = len(looked) * (_middle(looked) - _middle(self._steps))
            self.spent_s = max(self.spent_s, self._before_s + more_s)


def _middle(times_s: Iterable[float]) -> float:
    """Of whatever else a job does between two steps of many, nothing is in it."""
    ordered = sorted(times_s)
    return ordered[len(ordered) // 2]
