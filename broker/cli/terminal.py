"""The person at the terminal: hears what services say, is asked, and sees a measurement live."""

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mlbroker.broker.errors import InputError, Interrupted, RefusedError
from mlbroker.broker.output import clean, inert, say, warn
from mlbroker.broker.words import count, figure, span

if TYPE_CHECKING:
    from mlbroker.broker.ledger import Ledger
    from mlbroker.broker.measure.watch import Observation

PLAIN_EVERY_S = 5.0
ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}


class Terminal:
    """Whom services tell, as `app.listener.Listener` wants it: lines on stderr."""

    def note(self, text: str) -> None:
        """A line."""
        say(text)

    def warn(self, text: str) -> None:
        """A line that must not be missed."""
        warn(text)


def note_copy(ledger: "Ledger") -> None:
    """Of a copied ledger only this is known: how its runs stood when it was copied."""
    if (why := ledger.why_copy()) is not None:
        warn(f"{why.what}. {why.hint}")


def confirm(question: str, refusal: str, *, money: bool = True) -> None:
    """Ask; where nobody can answer, what costs money needs the option --yes."""
    if not sys.stdin.isatty():
        if money:
            raise InputError(
                "spending needs a yes, and there is nobody to ask", hint="Add --yes to go ahead."
            )
    elif not _yes(question):
        raise RefusedError(f"not confirmed: {refusal}")


def _yes(question: str) -> bool:
    """Ask until it is yes or no; enter alone is no. Interrupted on Ctrl-C and the end of input.

    Python's own `input` does not hear a Ctrl-C that comes in the instant before it waits.
    """
    from mlbroker.broker.cli.ctrl_c import CtrlC

    with CtrlC() as terminal:
        while (answer := terminal.question(f"{question} [y/N]: ")) not in ANSWERS:
            if answer is None:
                sys.stderr.write("\n")
                raise Interrupted("interrupted")
            say("Type y or n.")
    return ANSWERS[answer]


class Live(ExitStack, Terminal):
    """A bar with the current estimate and its interval on a terminal, else a line now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.enter_context(self._bar)
            self._task = self._bar.add_task("measuring", total=None, state="starting")

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is None:
            say(text)
        else:
            self._bar.console.print(inert(clean(text)), markup=False, highlight=False)

    def warn(self, text: str) -> None:
        """Above the bar too."""
        self.note(f"Warning: {text}")

    def seen(self, now: "Observation", place: str = "") -> None:
        """The state of knowledge now, of one of several places by its name."""
        state = "setting up" if now.started == "setup" else "waiting for the first step"
        done, total = 0, None
        if now.series is not None and now.series.steps > 0:
            state = count(now.series.steps, "step")
            done, total = now.series.counts[-1], now.series.total
        if now.estimate is not None:
            half = now.estimate.half_width
            state += f", {figure(now.estimate.step_time_s)} s each"
            state += f" ±{half:.1%}" if half < 1 else ", not sure yet"
            if now.estimate.total_s is not None:
                state += f", all of it {span(now.estimate.total_s.p50)}"
        if place:
            state = f"{place}: {state}"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, state=state)
        elif done and time.monotonic() - self._last >= PLAIN_EVERY_S:
            self._last = time.monotonic()
            say(f"measuring: {state}")
