"""What goes wrong on the way to Google Cloud and inside it."""

from dataclasses import dataclass, field
from typing import Any

from tests.support.aws.request import Answer
from tests.support.faults import Faults
from tests.support.gcp.discovery import refuse
from tests.support.gcp.request import Request


@dataclass
class GcpFaults(Faults):
    """`late_inserts` are accepted and fail afterwards; `stuck` operations end after an hour."""

    late_inserts: int = 0
    stuck: int = 0
    unreachable_zones: set[str] = field(default_factory=set)
    guests_may_delete: bool = True

    def no(self, request: Request, *error: Any) -> Answer:
        return refuse(*error)

    def failed(self, request: Request) -> Answer:
        return refuse(503, "backendError", "Service is currently unavailable.")

    def too_many(self, request: Request) -> Answer:
        if request.action.startswith("compute."):
            return refuse(
                403,
                "rateLimitExceeded",
                "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'.",
            )
        return refuse(429, "rateLimitExceeded", "Rate limit exceeded.")
