"""What goes wrong on the way to AWS and inside it; and how it counts requests."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.support.aws.request import Request, refuse, refuse_json
from tests.support.faults import Faults
from tests.support.loopback_http import Answer


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


class AwsFaults(Faults):
    """A delete that fails late is one that AWS accepts and forgets.

    `page` is how much of a list of machines or objects comes at once, where that is set.
    """

    page: int | None = None

    def no(self, request: Request, *error: Any) -> Answer:
        return _no(request, *error)

    def failed(self, request: Request) -> Answer:
        return _no(request, "InternalError", "something failed", "500 Internal Server Error")

    def too_many(self, request: Request) -> Answer:
        return _no(request, *_THROTTLED.get(request.service, _THROTTLED["ssm"]))

    def odds(self, request: Request) -> float:
        if request.key != "launcher":
            return 0.0
        # The store's library pauses in real time between its tries: fewer faults there.
        return self.rate / 4 if request.service == "s3" else self.rate


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
