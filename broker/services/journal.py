"""What the guards of a service have seen and allowed, look by look; and who is its guard now.

A look is on disk before its ceiling is told. A guard that starts again reads what was before, as
if it had been there: what was paid, what is usual, what was allowed last.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.errors import MlbrokerError, RefusedError
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder, private_home
from mlbroker.broker.runs.carrier import Carrier
from mlbroker.policies.service.interface import Sight

LOOKS, LOCK, STOP, SETUP = "looks.jsonl", "guard.lock", "stop", "setup.json"
# What is usual is that of seven days; what was paid in a month is needed until its end.
KEPT_MS = 40 * 86_400_000
# Shortened when so many lines are older: rarely, as the whole file is written anew.
_MOST_OLD = 20_000


class Block(NamedTuple):
    """A reservation in the ledger: `reserved` units until `until_ms`, from `base` paid on."""

    run_id: str
    reserved: int
    base: int
    period_ms: int
    until_ms: int


class Look(NamedTuple):
    """What was seen, and what is allowed since: `most` until `until_ms`, then `then`.

    `seen_s` is the engine's clock, `boot` and `up_ms` tell how long ago it was. The rest is for
    who asks how the service is: units, replicas. Of all that was paid `booked` units are in settled
    reservations.
    """

    sight: Sight
    seen_s: float
    boot: str
    up_ms: int
    most: int
    then: int
    until_ms: int
    block: Block | None
    booked: int
    spent: dict[str, int]
    forecast: dict[str, tuple[int, int, int]]
    running: int
    ready: int
    foreign: int


class Journal:
    """The folder of one service below the state folder."""

    def __init__(self, state: Path, name: str) -> None:
        self.name = name
        self._state = state
        self.folder = state / "services" / name

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Be the one guard. RefusedError where another is; the kernel frees a dead one's lock."""
        try:
            private_home(self._state)
            private_folder(str(self.folder))
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RefusedError(
                    f"has a guard already: {self.guard() or 'another process'}",
                    where=f"service {self.name}",
                    hint=f"mlbroker service status {self.name}",
                ) from None
            Carrier.sign(lock)
            (self.folder / STOP).unlink(missing_ok=True)
            yield
        finally:
            os.close(lock)

    def guard(self) -> str | None:
        """Who guards the service now; None where nobody does."""
        try:
            lock = os.open(self.folder / LOCK, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return str(Carrier.of(self.folder / LOCK) or "another process")
        finally:
            os.close(lock)
        return None

    def looks(self, last: bool = False) -> Iterator[Look]:
        """Those that are kept, oldest first, or the `last` alone. Half a line at the end was never
        acted on. MlbrokerError where the file was damaged."""
        try:
            lines = (self.folder / LOOKS).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from error
        for number, line in enumerate(lines, start=1):
            if last and number < len(lines):
                continue
            try:
                yield _look(json.loads(line))
            except (ValueError, TypeError, KeyError):
                raise MlbrokerError(
                    f"line {number} is damaged: what was paid this month is not known",
                    where=str(self.folder / LOOKS),
                    hint="Restore a backup of it. The engine keeps what it was told last.",
                ) from None

    def last(self) -> Look | None:
        """The latest look."""
        return next(self.looks(last=True), None)

    def append(self, look: Look) -> None:
        """On disk when this returns."""
        line = json.dumps(look._asdict(), separators=(",", ":"))
        try:
            with open(self.folder / LOOKS, "r+b" if self._mended() else "w+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unusable(error) from error

    def kept(self) -> list[Look]:
        """All that are kept, oldest first; what no month and no usual hour needs any more is
        forgotten now and then."""
        looks = list(self.looks())
        if not looks:
            return looks
        since_ms = looks[-1].sight.steady_ms - KEPT_MS
        kept = [each for each in looks if each.sight.steady_ms >= since_ms]
        if len(looks) - len(kept) <= _MOST_OLD:
            return looks
        lines = [json.dumps(e._asdict()) for e in kept]
        files.write(str(self.folder), LOOKS, "".join(f"{line}\n" for line in lines))
        return kept

    def keep_setup(self, setup: dict[str, Any]) -> None:
        """What the guard goes by, for who asks later."""
        files.write_json(str(self.folder), SETUP, setup)

    def setup(self) -> dict[str, Any] | None:
        """What the last guard went by; None where there was none."""
        try:
            found = json.loads((self.folder / SETUP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def ask_to_stop(self) -> None:
        """Leave the wish to the guard."""
        (self.folder / STOP).touch()

    def asked_to_stop(self) -> bool:
        """Whether somebody did."""
        return (self.folder / STOP).exists()

    def _mended(self) -> bool:
        """Whether there are looks; half a line that a dead guard left at the end is cut off."""
        path = self.folder / LOOKS
        if not path.exists():
            return False
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            if size and file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def _unusable(self, error: OSError) -> MlbrokerError:
        return MlbrokerError(
            f"cannot keep what the guard knows: {error.strerror or error}",
            where=str(self.folder),
            hint="Free some space or make the folder writable. Nothing was raised.",
        )


def services(state: Path) -> list[str]:
    """The services that had a guard here."""
    return sorted(path.parent.name for path in (state / "services").glob(f"*/{SETUP}"))


def _look(told: dict[str, Any]) -> Look:
    block = told["block"]
    return Look(
        **told
        | {
            "sight": Sight(*told["sight"]),
            "block": None if block is None else Block(*block),
            "forecast": {name: tuple(each) for name, each in told["forecast"].items()},
        }
    )
