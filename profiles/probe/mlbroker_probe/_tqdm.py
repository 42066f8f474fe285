"""tqdm: every place in the code that makes a bar is a count of its own, shown or not."""

import os
import sys
from typing import Any, Dict, Iterator, List, Optional

from ._events import Counter
from ._loops import loop_around

_sites: Dict[str, "Site"] = {}
_open: List["Site"] = []


class Site:
    """A line of code that makes bars: one for every epoch, say."""

    def __init__(self, name: str) -> None:
        self.counter = Counter(name)
        self.entries = 0
        self.whole: Optional[int] = None

    def enter(self, total: Optional[int], loop: Optional[str]) -> None:
        """A bar of this place starts to move, in this loop if any."""
        parent = _open[-1] if _open else None
        self.entries += 1
        if parent is not None:
            self.whole = parent.whole * total if parent.whole and total else None
            if self.entries == 1:
                self.counter.note("parent", parent.counter.source)
        else:
            # Entered again outside any other bar: how often there will be more is not known.
            self.whole = total if self.entries == 1 and loop is None else None
            if loop is not None and total and self.entries == 1:
                self.counter.note("epoch", "%d steps each time that %s comes here" % (total, loop))
        self.counter.total = self.whole
        self.counter.begin()
        _open.append(self)

    def leave(self) -> None:
        """That bar is done."""
        if self in _open:
            del _open[_open.index(self) :]


def count_bars(module: Any) -> None:
    """Hook into `tqdm.std.tqdm`, from which all kinds of bars are made."""
    bar = module.tqdm
    init, iterate, update, close = bar.__init__, bar.__iter__, bar.update, bar.close

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        frame = _caller()
        self._mlbroker_site, self._mlbroker_loop = _site(frame), loop_around(frame)
        self._mlbroker_state = ""
        init(self, *args, **kwargs)

    def __iter__(self: Any) -> Iterator[Any]:
        site = self._mlbroker_site
        self._mlbroker_state = "iterated"
        site.enter(_total(self), self._mlbroker_loop)
        for item in iterate(self):
            yield item
            site.counter.add(1)
        site.leave()

    def manual_update(self: Any, n: Any = 1) -> Any:
        if self._mlbroker_state == "":
            self._mlbroker_state = "updated"
            self._mlbroker_site.enter(_total(self), self._mlbroker_loop)
        if self._mlbroker_state == "updated" and isinstance(n, int) and n > 0:
            self._mlbroker_site.counter.add(n)
        return update(self, n)

    def manual_close(self: Any) -> Any:
        if getattr(self, "_mlbroker_state", "") == "updated":
            self._mlbroker_site.leave()
        return close(self)

    bar.__init__, bar.__iter__ = __init__, __iter__
    bar.update, bar.close = manual_update, manual_close


def _caller() -> Any:
    """The frame outside of tqdm that makes the bar."""
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and _is_tqdm(frame):
        frame = frame.f_back
    return frame


def _site(frame: Any) -> Site:
    name = "tqdm@%s:%d" % (os.path.basename(frame.f_code.co_filename), frame.f_lineno)
    if name not in _sites:
        _sites[name] = Site(name)
    return _sites[name]


def _is_tqdm(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "tqdm"


def _total(bar: Any) -> Optional[int]:
    total = getattr(bar, "total", None)
    if total is None:
        try:
            total = len(bar.iterable)
        except (AttributeError, TypeError):
            return None
    return int(total) if total and total == total and total < 1 << 53 else None
