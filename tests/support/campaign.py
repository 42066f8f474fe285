"""Sizes of campaigns: short beside the other tests, full with CAMPAIGN=full (`make campaign`)."""

import json
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What a single hostile input may take: honest ones need a hundredth. Processor time, so that a
# loaded machine fails none; the clock is for what waits for ever.
INPUT_CPU_S = 20.0
INPUT_S = 120.0
INPUT_MB = 400
MOST_TOLD = 5

FULL = os.environ.get("CAMPAIGN") == "full"


def size(short: int, full: int) -> int:
    return full if FULL else short


@contextmanager
def figures(name: str) -> Iterator[dict[str, Any]]:
    """What a campaign came to; a full one leaves it in CAMPAIGN_FIGURES, one file each."""
    began = time.monotonic()
    kept: dict[str, Any] = {}
    yield kept
    kept["seconds"] = round(time.monotonic() - began, 1)
    folder = os.environ.get("CAMPAIGN_FIGURES")
    if FULL and folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps(kept, indent=2))


def seeds(short: int, full: int) -> Iterable[int]:
    """The inputs of a campaign that makes each from its number; CAMPAIGN_SEED names just one."""
    only = os.environ.get("CAMPAIGN_SEED")
    return range(size(short, full)) if only is None else [int(only)]


class Unbounded(BaseException):
    """One input took too long. No code that is tried may catch it."""


def try_each(numbers: Iterable[int], one: Callable[[int], None]) -> int:
    """Each input by itself, within bounds of time and memory; how many there were.

    The failures of all are told together, each with what makes it happen again.
    """
    failures = []
    count = 0
    for seed in numbers:
        count += 1
        before_kb = _peak_kb()
        try:
            with _bounded():
                one(seed)
            grown_mb = (_peak_kb() - before_kb) // 1024
            assert grown_mb <= INPUT_MB, f"took {grown_mb} MB of memory"
        except (Exception, Unbounded) as error:
            failures.append(f"CAMPAIGN_SEED={seed}: {_in_short(error)}")
            if len(failures) == MOST_TOLD:
                break
    assert not failures, f"{len(failures)} of {count} inputs failed\n" + "\n".join(failures)
    return count


def _in_short(error: BaseException) -> str:
    """Where it came up and what it says; an input may be part of that, and very long."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = [f"  {frame.filename}:{frame.lineno} {frame.line}" for frame in frames]
    return "\n".join([f"{type(error).__name__}: {error!s:.500}", *places])


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def _bounded() -> Iterator[None]:
    def stop(number: int, _: object) -> None:
        busy = number == signal.SIGPROF
        raise Unbounded(f"busy for {INPUT_CPU_S} s" if busy else f"waited for {INPUT_S} s")

    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, INPUT_CPU_S),
        (signal.SIGALRM, signal.ITIMER_REAL, INPUT_S),
    )
    before = {number: signal.signal(number, stop) for number, _, _ in timers}
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, timer, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
