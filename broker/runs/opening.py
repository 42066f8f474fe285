"""Opens each cloud once, by its name in the registry."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from mlbroker.broker.clouds import CLOUDS
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import InputError


def opener(home: Path) -> Callable[[str], Cloud]:
    """A function from a cloud's name to the cloud."""

    @cache
    def opened(name: str) -> Cloud:
        if name not in CLOUDS:
            raise InputError(
                f"mlbroker cannot launch on {name} yet",
                hint=f"It can launch on: {', '.join(sorted(CLOUDS))}.",
            )
        return CLOUDS[name](home)

    return opened
