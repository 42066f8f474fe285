"""The way home of what a rented machine left: paid for out of the run's cap, or left in the bucket.

Before a file travels it is written down what that costs, so that who dies on the way has paid, and
who comes after pays again. While the machine is there only its allowance may be spent on it; what
is larger waits until the machine is gone, and has what that did not spend.
"""

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.interface import Cloud, Intent, Left, leaving_files
from mlbroker.broker.clouds.rented import KEEP_DAYS
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Attempt
from mlbroker.broker.ledger.state import BROUGHT
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.words import exact_usd, size


class Unpaid(CloudError):
    """Nothing is left that pays for its way home."""


class Way:
    """Of what one attempt left. `stays` are the names of what was not paid for, and where it is.

    `note` writes down what it is given by name, as a fact of the run.
    """

    def __init__(
        self,
        option: LaunchOption,
        attempt: Attempt,
        left_usd: Decimal,
        note: Callable[..., object],
    ) -> None:
        self._home = option.home
        self._came = attempt.home_bytes
        self._untold = 0  # of that, what no fact holds yet
        self._left_usd = left_usd
        self._note = note
        self.paid_usd = Decimal(0)
        self.stays: dict[str, str] = {}

    def fetch(
        self, cloud: Cloud, intent: Intent, name: str, target: Path, rank: int, called: str
    ) -> bool:
        """As the cloud's own; Unpaid where what is left does not pay for it, which is then
        `called` so.
        """
        files = None if self._home is None else leaving_files(cloud)
        if files is None:
            return cloud.fetch(intent, name, target, rank)
        left = files.left(intent, name, rank)
        if left is None:
            return False
        self._pay(called, left)
        return files.fetch(intent, name, target, rank, left.bytes)

    def pay_log(self, log_bytes: int) -> None:
        """For all that came of the log so far: no more did than is left for it."""
        more = log_bytes - self._came
        if self._home is None or more <= 0:
            return
        usd = min(self._home.usd(self._came, more), max(self._left_usd, Decimal(0)))
        if usd > 0:
            self._write_down("log", more, usd)
        else:
            self._came += more
            self._untold += more

    def _pay(self, name: str, left: Left) -> None:
        assert self._home is not None  # who has no prices is asked for nothing
        usd = self._home.usd(self._came, left.bytes)
        if usd > self._left_usd:
            self.stays[name] = left.where
            raise Unpaid(
                f"{name} ({size(left.bytes)}) stays in {left.where} for {KEEP_DAYS} days: to bring "
                f"it home costs {exact_usd(usd)} USD, and the cap has "
                f"{exact_usd(max(self._left_usd, Decimal(0)))} USD left",
                hint="Say how much comes home, `data: {output_gb, checkpoint_gb}`: it is reserved.",
            )
        self._write_down(name, left.bytes, usd)

    def _write_down(self, name: str, more: int, usd: Decimal) -> None:
        told = {"name": name, "bytes": more + self._untold, "usd": str(usd)}
        self._note(**{BROUGHT: told})
        self._came += more
        self._untold = 0
        self._left_usd -= usd
        self.paid_usd += usd


def log_most(option: LaunchOption, attempt: Attempt) -> int | None:
    """How many bytes of an attempt's logs come home: half of its allowance is for files."""
    return None if option.home is None else option.home.most_bytes(attempt.allowance_usd / 2)


def bring_home(
    collect: Callable[[Way], tuple[list[str], list[str]]],
    close: Callable[..., object],
    way: Way,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """What an attempt left, as far as it came, as the ledger has it.

    Whatever a guest left, and whatever comes of it here: its machine is ended and paid.
    """
    found: list[str] = []
    missing = ["all"]
    try:
        found, missing = collect(way)
        close(spoke="log" in found)
    except Exception as error:
        warn(f"collecting failed: {type(error).__name__}: {error}")
    return {"files": found, "missing": missing, "stays": way.stays}


def bring_rest(
    attempt: Attempt,
    machine_usd: str,
    way: Callable[[Decimal], Way],
    bring: Callable[[Way, Collection[str]], Sequence[str]],
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """What an attempt's end comes to once the rest of what it left is home, as far as its cap pays
    for that; its machine alone came to `machine_usd`, and is paid whatever comes of the rest.
    """
    usd = Decimal(machine_usd) + attempt.home_usd
    if not attempt.stays:
        return {"charged_usd": str(usd)}
    paid = way(attempt.worst_usd - usd)
    found: Sequence[str] = ()
    try:
        found = bring(paid, tuple(attempt.stays))
    except Exception as error:
        warn(f"collecting failed: {type(error).__name__}: {error}")
    missing = [name for name in attempt.missing if name not in found]
    stays = {name: where for name, where in attempt.stays.items() if name not in found}
    return {"charged_usd": str(usd + paid.paid_usd), "missing": missing, "stays": stays}
