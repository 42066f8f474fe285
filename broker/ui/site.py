"""Pages by their names, each made once for each version of what it shows."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.report.page import Served, page
from mlbroker.broker.report.parts import Prose

# A page, given how it is served.
Maker = Callable[[Served], str]


@dataclass
class Site:
    """`makers` by the last part of a page's address, with their `names`.

    `look` asks for the `version` of all that they show, and wakes who waits for news: somebody has
    to call it, once before there is any reader and then now and then. `ask` finds out what takes
    its time (other machines'), and is called apart from that while somebody reads.
    """

    makers: Mapping[str, Maker]
    names: Mapping[str, str]
    version: Callable[[], str]
    ask: Callable[[], None]
    _made: dict[str, tuple[str, str]] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _known: str = ""

    def look(self) -> None:
        """Find out whether anything has changed, and wake those who wait for it."""
        try:
            told = self.version()
        except Exception as error:
            # A page that cannot be made has to replace the one before.
            told = _words(error)
        found = hashlib.sha256(told.encode()).hexdigest()[:16]
        with self._news:
            if found != self._known:
                self._known = found
                self._news.notify_all()

    def news(self, known: str, within_s: float) -> str:
        """The version, as soon as it is another one than `known`, or after so many seconds."""
        with self._news:
            self._news.wait_for(lambda: self._known != known, within_s)
            return self._known

    def page(self, name: str) -> str:
        """A page as it stands now; what goes wrong is a page as well. KeyError for no name."""
        make, version = self.makers[name], self._known
        # One at a time: several readers of a large ledger want the same.
        with self._making:
            if self._made.get(name, ("", ""))[0] != version:
                self._made[name] = (version, self._make(make, name, version))
            return self._made[name][1]

    def _make(self, make: Maker, name: str, version: str) -> str:
        served = Served(self.names, name, version)
        try:
            return make(served)
        except Exception as error:
            return page("This cannot be shown", [Prose(_words(error), strong=True)], served)


def _words(error: Exception) -> str:
    known = isinstance(error, MlbrokerError)
    return str(error) if known else f"{type(error).__name__}: {error}. This is a bug."
