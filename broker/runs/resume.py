"""Carries a run on after the process that launched it is gone: `python -m … RUN_ID`.

Started by a machine's guard, by `run --detach` and by Ctrl-C. Secrets come as JSON on stdin
when the run may still launch machines.
"""

import json
import sys
from pathlib import Path

from mlbroker.broker.clouds import opener
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.runs.clock import WallClock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.view import NoView


def main(run_id: str, secrets: dict[str, str] | None, state: Path) -> None:
    """Wait for whoever carries the run, then carry it to its settlement."""
    folder = RunFolder.of(state, run_id)
    with folder.carried():
        run = open_ledger(state).run(run_id)
        if run is not None and not run.settled:
            driver = Driver(
                open_ledger(state), opener(state), WallClock(), folder, NoView(), secrets
            )
            driver.drive(run_id)


if __name__ == "__main__":
    given = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    main(sys.argv[1], json.loads(given)["secrets"] if given else None, home())
