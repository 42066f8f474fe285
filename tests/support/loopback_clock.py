"""The time of the loopback cloud: real time moved ahead at will, or time that stands still."""

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Tells the time and keeps what is to happen. `frozen`: moves only when it is advanced."""

    def __init__(self, frozen: bool = False) -> None:
        self.lock = threading.RLock()
        self._frozen = datetime.now(UTC).replace(microsecond=0) if frozen else None
        self._ahead = timedelta()
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def now(self) -> datetime:
        return (self._frozen or datetime.now(UTC)) + self._ahead

    def at(self, when: datetime, what: Callable[[], None]) -> None:
        """Let `what` happen at `when`."""
        with self.lock:
            heapq.heappush(self._due, (when, next(self._count), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Let `what` happen in so many seconds."""
        self.at(self.now() + timedelta(seconds=seconds), what)

    def tick(self) -> None:
        """Let everything happen that is due, in its order."""
        with self.lock:
            while self._due and self._due[0][0] <= self.now():
                heapq.heappop(self._due)[2]()

    def forget(self) -> None:
        """Nothing is to happen any more."""
        with self.lock:
            self._due.clear()

    def advance(self, seconds: float) -> None:
        """Move ahead, stopping at each event on the way."""
        with self.lock:
            target = self.now() + timedelta(seconds=seconds)
            while self._due and self._due[0][0] <= target:
                self._ahead += max(timedelta(), self._due[0][0] - self.now())
                self.tick()
            self._ahead += max(timedelta(), target - self.now())
            self.tick()
