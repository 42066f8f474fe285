"""What goes wrong on the way to Google Cloud and inside it."""

from dataclasses import dataclass, field
from typing import Any

from tests.support.faults import Faults
from tests.support.gcp.discovery import refuse
from tests.support.loopback_http import Answer, TokenRequest


@dataclass
class GcpFaults(Faults):
    """`late_inserts` are accepted and fail afterwards; `stuck` operations end after an hour.

    `page` is how much of a list comes at once, at most.
    """

    late_inserts: int = 0
    stuck: int = 0
    unreachable_zones: set[str] = field(default_factory=set)
    guests_may_delete: bool = True
    page: int = 500

    def no(self, request: TokenRequest, *error: Any) -> Answer:
        return refuse(*error)

    def failed(self, request: TokenRequest) -> Answer:
        return refuse(503, "backendError", "Service is currently unavailable.")

    def too_many(self, request: TokenRequest) -> Answer:
        if request.action.startswith("compute."):
            return refuse(
                403,
                "rateLimitExceeded",
                "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'.",
            )
        return refuse(429, "rateLimitExceeded", "Rate limit exceeded.")
