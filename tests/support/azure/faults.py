"""What goes wrong on the way to Azure and inside it, on demand or at random."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from tests.support.aws.request import Answer
from tests.support.azure.schema import refuse
from tests.support.gcp.request import Request


@dataclass
class Faults:
    """Counters say how many of the next requests of an action go wrong in which way.

    `lost_before`: never arrives; `lost_after`: takes effect, but no answer comes back;
    `failing`: answered with a server's error; `throttled`: too many at once. `late_deletes` are
    accepted and fail afterwards; `stuck` operations end only after an hour. `rate` does the first
    four at random.
    """

    lost_before: Counter[str] = field(default_factory=Counter)
    lost_after: Counter[str] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    errors: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    late_deletes: int = 0
    stuck: int = 0
    guests_may_delete: bool = True
    workflows_work: bool = True
    log_works: bool = True
    rate: float = 0.0
    random: Random = field(default_factory=lambda: Random(0))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.__init__()  # type: ignore[misc]

    def take(self, name: str) -> bool:
        """Use one of the faults of this counter up; False when there are none left."""
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)

    def before(self, request: Request) -> str | Answer | None:
        """What becomes of a request: `before` and `after` say when it is lost."""
        action = request.action
        if action in self.errors:
            return refuse(*self.errors[action])
        for counter, outcome in (
            (self.lost_before, "before"),
            (self.lost_after, "after"),
            (self.failing, "failing"),
            (self.throttled, "throttled"),
        ):
            if counter[action] > 0:
                counter[action] -= 1
                return _outcome(outcome)
        if self.rate and self.random.random() < self.rate:
            return _outcome(self.random.choice(("before", "after", "failing", "throttled")))
        return None


def _outcome(outcome: str) -> str | Answer:
    if outcome == "failing":
        return refuse(503, "ServerUnavailable", "The service is unavailable.")
    if outcome == "throttled":
        return refuse(429, "TooManyRequests", "The request was throttled.")
    return outcome
