"""Whom a service tells what must be said on the way, before its value is there."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlbroker.broker.measure.watch import Observation


class Listener(Protocol):
    """Takes lines for the person who waits; a terminal shows them, a test keeps them."""

    def note(self, text: str) -> None:
        """Something worth knowing."""
        ...

    def warn(self, text: str) -> None:
        """Something that must not be missed."""
        ...


class Silent:
    """Nobody, where the same was said before."""

    def note(self, text: str) -> None:
        return

    def warn(self, text: str) -> None:
        return


class Watcher(Listener, Protocol):
    """One that also follows a measurement while it is made."""

    def seen(self, now: "Observation", place: str = "") -> None:
        """What is known so far, of one of several places by its name."""
        ...
