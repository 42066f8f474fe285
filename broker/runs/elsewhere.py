"""Runs that no process of this state folder carries: of a team's ledger those whose folder is on
another machine, or another person's; and what a service's guard holds, which is no machine of ours.
"""

from collections.abc import Iterable
from pathlib import Path

from mlbroker.broker.ledger import SERVICE, Run, share_in
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import FILE

# In the fact that opens a run of a team's ledger: the state folder its own is in.
HOME = "home"


def unattended(runs: Iterable[Run], home: Path) -> frozenset[str]:
    """Those of this state folder that nobody carries, or whose carrier stands still."""
    ours = ((run, RunFolder.of(home, run.run_id)) for run in runs)
    return frozenset(
        run.run_id
        for run, folder in ours
        if elsewhere(run, folder) is None and not folder.attended()
    )


def elsewhere(run: Run, folder: RunFolder) -> str | None:
    """Where the run is carried, if not from this state folder; None where it is."""
    if (share := share_in(run, SERVICE)) is not None:
        return f"the guard of its service holds it (mlbroker service status {share.name})"
    if HOME not in run.details or (folder.path / FILE).exists():
        return None
    host, home = run.details.get("host"), run.details[HOME]
    return f"it is carried on {host}, from {home}"
