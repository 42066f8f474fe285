"""Runs of a team's ledger whose folder is on another machine, or another person's."""

from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import FILE

# In the fact that opens a run of a team's ledger: the state folder its own is in.
HOME = "home"


def elsewhere(run: Run, folder: RunFolder) -> str | None:
    """Where the run is carried, if not from this state folder; None where it is."""
    if HOME not in run.details or (folder.path / FILE).exists():
        return None
    host, home = run.details.get("host"), run.details[HOME]
    return f"it is carried on {host}, from {home}"
