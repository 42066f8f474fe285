"""tqdm: every place in the code that makes a bar is a count of its own, shown or not."""

import os
import sys
from typing import Any, Dict, Iterator, List, Optional

from ._events import Counter, harmless
from ._loops import loop_around, outside

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
        self._mlbroker_site = None
        self._mlbroker_state = ""
        _place(self, sys._getframe(1))
        init(self, *args, **kwargs)

    def __iter__(self: Any) -> Iterator[Any]:
        site = _enter(self, "iterated")
        if site is None:
            yield from iterate(self)
            return
        try:
            for item in iterate(self):
                yield item
                site.counter.add(1)
        finally:
            site.leave()  # also where the loop around it breaks off

    def manual_update(self: Any, n: Any = 1) -> Any:
        if getattr(self, "_mlbroker_state", None) == "":
            _enter(self, "updated")
        if getattr(self, "_mlbroker_state", None) == "updated" and isinstance(n, int) and n > 0:
            self._mlbroker_site.counter.add(n)
        return update(self, n)

    def manual_close(self: Any) -> Any:
        if getattr(self, "_mlbroker_state", "") == "updated":
            self._mlbroker_site.leave()
        return close(self)

    bar.__init__, bar.__iter__ = __init__, __iter__
    bar.update, bar.close = manual_update, manual_close


@harmless
def _place(bar: Any, frame: Any) -> None:
    """Note which line makes this bar, and in which loop."""
    frame = outside("tqdm", frame)
    bar._mlbroker_loop = loop_around(frame)
    bar._mlbroker_site = _site(frame)


@harmless
def _enter(bar: Any, state: str) -> Optional[Site]:
    """The bar begins to move; None where its place is not known."""
    site: Optional[Site] = bar._mlbroker_site
    if site is None:
        bar._mlbroker_state = "unknown"
        return None
    site.enter(_total(bar), bar._mlbroker_loop)
    bar._mlbroker_state = state
    return site


def _site(frame: Any) -> Site:
    name = "tqdm@%s:%d" % (os.path.basename(frame.f_code.co_filename), frame.f_lineno)
    if name not in _sites:
        _sites[name] = Site(name)
    return _sites[name]


def _total(bar: Any) -> Optional[int]:
    total = getattr(bar, "total", None)
    if total is None:
        try:
            total = len(bar.iterable)
        except (AttributeError, TypeError):
            return None
    return int(total) if total and total == total and total < 1 << 53 else None
