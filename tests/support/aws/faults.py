"""What goes wrong on a network and at a vendor, on demand or at random."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from tests.support.aws.request import Answer, Request, refuse, refuse_json


@dataclass
class Bucket:
    """A token bucket: so many at once, so many more each second."""

    capacity: float
    refill_per_s: float
    level: float = -1.0
    at: datetime | None = None
    least: float = float("inf")

    def take(self, count: float, now: datetime) -> bool:
        if self.at is None:
            self.level = self.capacity
        else:
            gained = (now - self.at).total_seconds() * self.refill_per_s
            self.level = min(self.capacity, self.level + gained)
        self.at = now
        if self.level < count:
            return False
        self.level -= count
        self.least = min(self.least, self.level)
        return True


@dataclass
class Faults:
    """Counters say how many of the next requests of an action go wrong in which way.

    `lost_before`: never arrives; `lost_after`: takes effect, but no answer comes back;
    `failing`: answered with an internal error; `rates` does the same at random.
    """

    lost_before: Counter[str] = field(default_factory=Counter)
    lost_after: Counter[str] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    ignored_deletes: int = 0
    scheduler_is_down: bool = False
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    rate: float = 0.0
    random: Random = field(default_factory=lambda: Random(0))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.__init__()  # type: ignore[misc]

    def before(self, request: Request) -> str | Answer | None:
        """What becomes of a request: `before` and `after` say when it is lost."""
        action = request.action
        if action in self.errors:
            return _no(request, *self.errors[action])
        for counter, outcome in (
            (self.lost_before, "before"),
            (self.lost_after, "after"),
            (self.failing, "failing"),
            (self.throttled, "throttled"),
        ):
            if counter[action] > 0:
                counter[action] -= 1
                return self._outcome(request, outcome)
        # The store's library pauses in real time between its tries: fewer faults there.
        rate = self.rate / 4 if request.service == "s3" else self.rate
        if rate and request.key == "launcher" and self.random.random() < rate:
            kinds = ("before", "after", "failing", "throttled")
            return self._outcome(request, self.random.choice(kinds))
        return None

    def _outcome(self, request: Request, outcome: str) -> str | Answer:
        if outcome == "failing":
            return _no(request, "InternalError", "something failed", "500 Internal Server Error")
        if outcome == "throttled":
            return _no(request, *_THROTTLED.get(request.service, _THROTTLED["ssm"]))
        return outcome


_THROTTLED = {
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", "503 Service Unavailable"),
    "s3": ("SlowDown", "Reduce your request rate.", "503 Slow Down"),
    "ssm": ("ThrottlingException", "Rate exceeded", "400 Bad Request"),
}


def _no(request: Request, code: str, message: str, status: str = "400 Bad Request") -> Answer:
    if request.service == "s3":
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, [("Content-Type", "application/xml")], text.encode())
    if request.service in ("ec2", "sts"):
        return refuse(code, message, status)
    return refuse_json(code, message, status)
