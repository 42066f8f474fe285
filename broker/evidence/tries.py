"""Keeps what trials of remedies proved, a file for each state of a job."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlbroker.broker.evidence import facts
from mlbroker.broker.guest.box import write_json
from mlbroker.broker.home import private_folder, private_home
from mlbroker.profiles.job import Job, TextRemedies
from mlbroker.profiles.trying import Arm, Saving, Trial

FOLDER = "tries"
SCHEMA = "mlbroker.tried/1"


@dataclass(frozen=True, slots=True)
class Kept:
    """A trial, and when it was made."""

    trial: Trial
    at: datetime


class TryStore:
    """The last trial of each job, under mlbroker's home."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def keep(self, job: Job, kept: Kept) -> None:
        """In place of an earlier one; on disk when this returns."""
        plain = _plain(job)
        document = {
            "schema": SCHEMA,
            "at": kept.at.isoformat(),
            "facts": facts.of(plain, measured=True),
            "trial": asdict(kept.trial),
        }
        private_home(self._home)
        private_folder(str(self._home / FOLDER))
        path = self._path(plain)
        write_json(str(path.parent), path.name, document)

    def for_job(self, job: Job) -> Kept | None:
        """What speaks for the job as it is now; None where it does something else by now."""
        plain = _plain(job)
        with suppress(OSError, ValueError, TypeError, KeyError):
            document = json.loads(self._path(plain).read_text(encoding="utf-8"))
            if document["schema"] != SCHEMA:
                return None
            if facts.since(plain, document["facts"], facts.of(plain)).alters:
                return None
            return Kept(_trial(document["trial"]), datetime.fromisoformat(document["at"]))
        return None

    def _path(self, plain: Job) -> Path:
        # A fingerprint is of a command, which two projects may share: so the name tells them apart.
        return self._home / FOLDER / f"{plain.name}-{plain.fingerprint()}.json"


def _plain(job: Job) -> Job:
    """A trial is of the job without remedies, whatever its file asks for by now."""
    return replace(job, nlp=TextRemedies())


def _trial(told: Mapping[str, Any]) -> Trial:
    arms = tuple(
        Arm(
            **{
                **arm,
                "step_s": tuple(arm["step_s"]),
                "of_step": arm["of_step"] and Saving(*arm["of_step"]),
                "of_run": arm["of_run"] and Saving(*arm["of_run"]),
            }
        )
        for arm in told["arms"]
    )
    return Trial(**{**told, "base_s": tuple(told["base_s"]), "arms": arms})
