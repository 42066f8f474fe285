"""What clouds share whose machines are rented, and told everything through the user's bucket."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.bucket import BucketBox
from mlbroker.broker.clouds.seam import Intent, Payload, Report
from mlbroker.broker.guest import box as files


class RentedCloud(ABC):
    """The part of a cloud that speaks with the guest, which is the same everywhere."""

    @abstractmethod
    def box(self, intent: Intent) -> BucketBox:
        """The attempt's folder in the bucket of its region."""

    @abstractmethod
    def lost_member(self, intent: Intent, unfinished: set[int]) -> Mapping[str, Any] | None:
        """The end, with its rank, of one of these machines that the vendor ended, or that died."""

    def has_room(self, instance_type: str) -> bool:
        """Only asking for a machine tells."""
        return True

    def report(self, intent: Intent) -> Report:
        """What the machine last left in the bucket."""
        box = self.box(intent)
        report = box.report(intent.nodes)
        if intent.nodes == 1 or report.end is not None:
            return report
        gone = self.lost_member(intent, box.unfinished(intent.nodes))
        # One that goes in order leaves its end first, perhaps between the two looks.
        if gone is None or gone["rank"] not in box.unfinished(intent.nodes):
            return report
        return replace(report, end=gone)

    def stop_job(self, intent: Intent, why: str) -> None:
        """The machine looks for it every few seconds."""
        self.box(intent).ask_to_stop(why)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        """From the parts in the bucket."""
        return self.box(intent).read_log(offset, rank)

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        """From the bucket."""
        return self.box(intent).fetch(name, target, rank)

    def send(self, intent: Intent, payload: Payload, program: bytes, secrets_at: str) -> None:
        """Lay the job into the bucket, with the place where its secrets are."""
        spec = {
            **payload.spec,
            "token": intent.token,
            "kill_at": intent.kill_at.timestamp(),
            "nodes": intent.nodes,
            "secret_names": sorted(payload.secrets),
            "secrets_at": secrets_at,
            "workdir": None,
            "afterwards": None,
        }
        given = {files.BUNDLE: payload.bundle, files.RESTORE: payload.restore}
        self.box(intent).send(spec, program, given)
