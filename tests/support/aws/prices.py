"""Price list and spot price history: answered from the prices that mlbroker ships, as recorded."""

from datetime import datetime

from tests.support.aws.request import Answer, Request


def answer(request: Request, now: datetime) -> Answer | None:
    """The recorded answer, or None when the request is for something else."""
    return None
