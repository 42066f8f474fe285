"""What a person sees of a run: one live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Any

from mlbroker.broker.cli.job_output import JobLines, JobOutput
from mlbroker.broker.ledger import Run, State
from mlbroker.broker.output import clean, is_terminal, say
from mlbroker.broker.runs.view import Progress, View
from mlbroker.broker.words import charged_usd, exact_usd, local_time, stopwatch
from mlbroker.pricing.vendors import vendor

_MOVES = {
    State.INTENDED: "attempt {n}: {type}, {place}, {price} {per}, ended by {kill} at the latest",
    State.REFUSED: "attempt {n}: refused ({why}) {detail}",
    State.CONFIRMED: "the machine is up",
    State.BOOTSTRAPPED: "set-up",
    State.RUNNING: "running",
    State.ENDED: "ended: {why}{rank} {detail}",
    State.TERMINATED: "the machine is gone; this attempt cost {charged} USD",
}
# Where a machine's life begins when its place likes.
_SCHEDULED = {
    State.INTENDED: "attempt {n}: {type}, {place}, {price} {per}, for {life} once it has started",
    State.CONFIRMED: "the job has started, ended by {kill} at the latest",
}
_PLAIN_EVERY_S = 30.0
_BAR = 24


def view(question: Callable[[str], str | None], quiet: bool) -> "PlainView":
    """The view for this terminal; `quiet` keeps the job's output off stdout."""
    if is_terminal() and not quiet:
        return LiveView(question)
    return PlainView(quiet)


class PlainView(View):
    """Lines: the job's output on stdout, what mlbroker says on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self._output = JobOutput(sys.stderr if quiet else sys.stdout)
        self._said_at = time.monotonic()

    def open(self) -> None:
        """Nothing to draw."""

    def close(self) -> None:
        """What the job wrote last has its line's end."""
        self._output.close()

    def moved(self, run: Run) -> None:
        """Name the step."""
        text = _moved(run)
        if text:
            self._say(text, "dim")

    def output(self, data: bytes) -> None:
        """Pass the job's output on."""
        self._output.write(data)

    def progress(self, run: Run, progress: Progress) -> None:
        """Now and then, how far it is."""
        if time.monotonic() - self._said_at >= _PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            say(progress_line(progress))

    def note(self, text: str) -> None:
        """A line in passing."""
        self._say(text, "dim")

    def warn(self, text: str) -> None:
        """A line that must not be missed."""
        self._say(f"Warning: {text}", "yellow")

    def overrun(self, run: Run, wish: str | None) -> str | None:
        """Nobody can be asked here: obey the wish, or go on and say what can be done."""
        answer = super().overrun(run, wish)
        if answer is None:
            say(_CHOICES.format(run=run.run_id))
        return answer

    def _say(self, text: str, style: str) -> None:
        say(text)


class LiveView(PlainView):
    """A line at the bottom that tells phase, steps, money and forecast; output scrolls above."""

    def __init__(self, question: Callable[[str], str | None]) -> None:
        super().__init__()
        self._question = question
        self._lines = JobLines()
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False)
        self._live: Any = Live(console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def open(self) -> None:
        """Draw the line again."""
        self._live.start()

    def close(self) -> None:
        """Take the line away."""
        self._above([rest] if (rest := self._lines.unfinished) else [])
        self._lines = JobLines()
        self._live.stop()

    def _above(self, lines: list[str]) -> None:
        from rich.text import Text

        if lines:
            self._console.print(Text.from_ansi("\n".join(lines)))

    def output(self, data: bytes) -> None:
        """Whole lines above the line, colours kept."""
        self._above(self._lines.read(data))

    def progress(self, run: Run, progress: Progress) -> None:
        """Redraw the line."""
        from rich.text import Text

        self._live.update(Text(clean(progress_line(progress)), style="bold"))

    def overrun(self, run: Run, wish: str | None) -> str | None:
        """Ask, when that is wished for; the run goes on meanwhile, capped."""
        if wish != "ask":
            return super().overrun(run, wish)
        self._live.stop()
        try:
            answer = self._question("[c]ontinue, [m]ove to another machine, [s]top? ")
        finally:
            self._live.start()
        return {"m": "move", "s": "overrun"}.get((answer or "")[:1])

    def _say(self, text: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(clean(text), style=style))


_CHOICES = (
    "It goes on until the cap. To end it now: mlbroker stop {run}. "
    "Next time: --on-overrun stop, or --on-overrun move for the plan's next machine."
)


def progress_line(progress: Progress) -> str:
    """Phase, steps, money, forecast, use: on one line."""
    parts = [progress.phase, stopwatch(progress.elapsed_s)]
    if progress.step is not None and progress.steps:
        share = min(1.0, progress.step / progress.steps)
        filled = round(share * _BAR)
        bar = "█" * filled + "░" * (_BAR - filled)
        parts.append(f"{bar} {progress.step}/{progress.steps}")
    elif progress.step is not None:
        parts.append(f"step {progress.step}")
    parts.append(f"{progress.spent_usd:.4f} of {exact_usd(progress.cap_usd)} USD")
    if progress.total_usd is not None and progress.finish_at is not None:
        parts.append(f"done {local_time(progress.finish_at)} for {progress.total_usd:.4f} USD")
    if progress.deadline_at is not None:
        parts.append(f"deadline {local_time(progress.deadline_at)}")
    if progress.cpu is not None:
        parts.append(f"CPU {progress.cpu * 100:.0f}%")
    if progress.gpu is not None:
        parts.append(f"GPU {progress.gpu * 100:.0f}%")
    if progress.energy_kwh is not None:
        parts.append(f"{progress.energy_kwh:.3f} kWh")
    if progress.checkpoint_fault is not None:
        parts.append("CHECKPOINT NOT SAVED")
    if progress.idle_s is not None:
        parts.append(
            f"IDLE for {stopwatch(progress.idle_s)}, {progress.idle_usd:.4f} USD for nothing"
        )
    return " · ".join(parts)


def _moved(run: Run) -> str | None:
    template = _MOVES.get(run.state)
    if template is None:
        return None
    attempt = run.attempt
    if vendor(attempt.cloud).schedules:
        template = _SCHEDULED.get(run.state, template)
    return template.format(
        n=attempt.number,
        type=attempt.instance_type,
        place=attempt.zone or attempt.region,
        price=exact_usd(attempt.price_per_hour_usd),
        kill=local_time(attempt.kill_at),
        life=stopwatch(round((attempt.kill_at - attempt.began_at).total_seconds())),
        per="USD/h" if attempt.batch_size is None else f"USD/h, batch {attempt.batch_size}",
        why=attempt.why,
        detail=attempt.detail or "",
        rank="" if attempt.rank is None else f" on rank {attempt.rank}",
        charged=charged_usd(attempt.charged_usd, at_most=attempt.at_most),
    ).rstrip()
