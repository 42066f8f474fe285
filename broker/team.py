"""Which database holds the team's ledger, if one does, and what here says so."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.home import TEAM_LEDGER, policy_path

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Policy


class Address(NamedTuple):
    """A database's URL, and for messages where it is written."""

    url: str
    where: str


def team_ledger() -> Address | None:
    """That of MLBROKER_LEDGER, which is also how none is named; where it is not set, that of the
    nearest policy file upward from the current folder. None: the ledger is a file.

    Not the job's file: who calls `ps` and `run` from one folder has one ledger. InputError where
    the policy file speaks of a ledger and cannot be read.
    """
    told = os.environ.get(TEAM_LEDGER)
    if told is not None:
        return Address(told, TEAM_LEDGER) if told else None
    try:
        path = policy_path(Path("here"))
        # A run can be stopped although a rule is damaged, but not looked for in the wrong books.
        if path is None or b"ledger" not in path.read_bytes():
            return None
    except OSError:
        return None  # the folder is gone, or the file is: whoever asks the rules says so
    from mlbroker.broker.files.policy_file import load_policy

    url = load_policy(path).ledger
    return None if url is None else Address(url, str(path))


def pinned() -> dict[str, str]:
    """For the environment of processes that carry a run on: it stays in the books it was written
    into, whatever becomes of the policy file.
    """
    if TEAM_LEDGER in os.environ:
        return {}
    address = team_ledger()
    return {TEAM_LEDGER: address.url if address else ""}


def refuse_other_ledger(policy: "Policy | None") -> None:
    """Where a job's policy file names another ledger than the one that counts here."""
    if policy is None or policy.ledger is None or TEAM_LEDGER in os.environ:
        return
    here = team_ledger()
    if here is None or here.url != policy.ledger:
        raise InputError(
            "the job's policy file names another ledger than counts in this folder",
            where=policy.source,
            hint=f"Call mlbroker below the folder of that file, or set {TEAM_LEDGER}.",
        )
