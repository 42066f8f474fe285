"""The time of day as the run's driver sees it; a campaign puts a virtual one in its place."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from mlbroker.broker.clouds.interface import Unclear

T = TypeVar("T")

RETRY_S = 1.0


class Clock:
    """The machine's own clock: says what time it is, and waits."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def until_answered(call: Callable[[], T], clock: Clock, until: datetime) -> T:
    """Ask, and ask again while there is no answer to rely on; after `until`, give up."""
    while True:
        try:
            return call()
        except Unclear:
            if clock.now() > until:
                raise
            clock.sleep(RETRY_S)


def twice(call: Callable[[], T], clock: Clock, warn: Callable[[str], None]) -> T:
    """Ask, and where there is no answer say so and ask once more: nobody waits for it yet."""
    try:
        return call()
    except Unclear as error:
        warn(f"{error}: asking once more")
        clock.sleep(RETRY_S)
        return call()
