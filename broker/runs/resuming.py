"""A new run that goes on where an earlier one was ended."""

import os
from decimal import Decimal
from shutil import copyfile

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.summary import money


def left_of(earlier: Run) -> Decimal:
    """What the earlier run did not spend of its cap."""
    if not earlier.settled:
        raise InputError(
            f"run {earlier.run_id} is not settled yet", hint="mlbroker stop, or mlbroker reconcile"
        )
    left = earlier.cap_usd - earlier.spent_usd
    if left <= 0:
        raise RefusedError(
            f"run {earlier.run_id} spent all of its {money(earlier.cap_usd)} USD",
            hint="Give --budget for the rest of the work.",
        )
    return left


def bring_checkpoint(earlier: RunFolder, later: RunFolder) -> None:
    """Lay the earlier run's checkpoint where the later one restores from."""
    if not earlier.checkpoint.exists():
        raise InputError(
            "the earlier run left no checkpoint",
            where=str(earlier.path),
            hint="The job has to write one, to the folder that checkpoint: path: names.",
        )
    later.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = later.checkpoint.with_suffix(".part")
    copyfile(earlier.checkpoint, part)
    os.replace(part, later.checkpoint)
