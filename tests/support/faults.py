"""What goes wrong on the way to a vendor and inside it, on demand or at random."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.loopback_http import Answer


@dataclass
class Faults(ABC):
    """Counters say how many of the next requests of an action go wrong in which way.

    `lost_before`: never arrives; `lost_after`: takes effect, but no answer comes back;
    `failing`: answered with a server's error; `throttled`: too many at once. `rate` does these
    four at random. `errors` holds the answers of a vendor that says no until it is told otherwise.
    `late_deletes` are accepted and fail afterwards; `disks_stay`, and `interfaces_stay`, when their
    machine is gone.
    `kill_works`: the kill switch outside does, and `kill_late_s` later than it usually is.
    """

    lost_before: Counter[str] = field(default_factory=Counter)
    lost_after: Counter[str] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    errors: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    late_deletes: int = 0
    disks_stay: bool = False
    interfaces_stay: bool = False
    kill_works: bool = True
    kill_late_s: float = 0.0
    rate: float = 0.0
    random: Random = field(default_factory=lambda: Random(0))

    @abstractmethod
    def no(self, request: Any, *error: Any) -> Answer:
        """One of `errors`, in the vendor's own shape."""

    @abstractmethod
    def failed(self, request: Any) -> Answer:
        """The vendor's own error."""

    @abstractmethod
    def too_many(self, request: Any) -> Answer:
        """What the vendor answers when it is asked too often."""

    def odds(self, request: Any) -> float:
        """How likely this request is to go wrong by itself."""
        return self.rate

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.__init__()  # type: ignore[misc]

    def take(self, name: str) -> bool:
        """Use one of the faults of this counter up; False when there are none left."""
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)

    def before(self, request: Any) -> str | Answer | None:
        """What becomes of a request: `before` and `after` say when it is lost."""
        action = request.action
        if action in self.errors:
            return self.no(request, *self.errors[action])
        for counter, outcome in (
            (self.lost_before, "before"),
            (self.lost_after, "after"),
            (self.failing, "failing"),
            (self.throttled, "throttled"),
        ):
            if counter[action] > 0:
                counter[action] -= 1
                return self._outcome(request, outcome)
        odds = self.odds(request)
        if odds and self.random.random() < odds:
            kinds = ("before", "after", "failing", "throttled")
            return self._outcome(request, self.random.choice(kinds))
        return None

    def _outcome(self, request: Any, outcome: str) -> str | Answer:
        if outcome == "failing":
            return self.failed(request)
        return self.too_many(request) if outcome == "throttled" else outcome
