"""What goes wrong on the way to Azure and inside it."""

from dataclasses import dataclass
from typing import Any

from tests.support.azure.schema import refuse
from tests.support.faults import Faults
from tests.support.loopback_http import Answer, TokenRequest


@dataclass
class AzureFaults(Faults):
    """`stuck` operations end only after an hour; `log_works`: the activity log does."""

    stuck: int = 0
    guests_may_delete: bool = True
    log_works: bool = True

    def no(self, request: TokenRequest, *error: Any) -> Answer:
        return refuse(*error)

    def failed(self, request: TokenRequest) -> Answer:
        return refuse(503, "ServerUnavailable", "The service is unavailable.")

    def too_many(self, request: TokenRequest) -> Answer:
        return refuse(429, "TooManyRequests", "The request was throttled.")
