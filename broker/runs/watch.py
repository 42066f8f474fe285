"""Reads what the guest reports: output into the run's log, steps into a forecast, files home."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.guest_report import End, Figures, Report
from mlbroker.broker.clouds.interface import Cloud, Intent, Unclear
from mlbroker.broker.errors import CloudError
from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.archives import no_room, room_below, why_of
from mlbroker.broker.guest.pace import wait_s
from mlbroker.broker.guest.tar_reader import BadArchive
from mlbroker.broker.guest.unpacking import unpack
from mlbroker.broker.ledger import Run, State
from mlbroker.broker.ledger.state import ADAPT
from mlbroker.broker.runs.adapting import Adapting, Fact
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.folder import LOG_KEPT_BYTES, RunFolder
from mlbroker.broker.runs.forecast import Forecaster, Live, overrun
from mlbroker.broker.runs.homecoming import Unpaid, Way
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.view import Progress, View
from mlbroker.broker.words import size

FETCH_EVERY_S = 30.0
# A stop was asked for and the guest does not answer to it: the machine goes without it.
STOP_PATIENCE_S = 30.0
# Where the job goes on elsewhere, its checkpoint has to come along, however large it is.
MOVE_PATIENCE_S = 300.0
# Of a log that does not end, or comes in crumbs: no look takes long, nor does the last one.
PARTS_A_LOOK, MOST_PARTS, LOG_WITHIN_S = 64, 1_000_000, 1800.0

_NO_FORECAST = "When it will be done is not forecast until then; the cap holds"
_LOG_UNPAID = (
    "the log is longer than the cap pays the way home for: no more of it is brought here; "
    "`data: output_gb` reserves for it"
)
_PHASES = {"setup": State.BOOTSTRAPPED, "running": State.RUNNING}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed: a state to move on to, why the job ended, or a fact to be written down,
    such as what it is asked to do.
    """

    state: State | None = None
    why: str | None = None
    exit_code: int | None = None
    detail: str | None = None
    rank: int | None = None
    fact: Fact | None = None

    @property
    def how(self) -> dict[str, Any]:
        """Beside why, how the job ended."""
        return {"exit_code": self.exit_code, "detail": self.detail, "rank": self.rank}


class Watcher:
    """Watches one attempt. Holds nothing that the ledger or the run's folder does not.

    Of its machines' logs `log_most` bytes are brought home; None: any number.
    """

    def __init__(
        self,
        order: Order,
        forecaster: Forecaster,
        folder: RunFolder,
        clock: Clock,
        view: View,
        log_most: int | None = None,
        adapting: Adapting | None = None,
    ) -> None:
        self._adapting = adapting
        self._order = order
        self._log_most = log_most
        self._forecaster = forecaster
        self._folder = folder
        self._clock = clock
        self._view = view
        self._look_at: datetime | None = None
        self._stop_asked_at: datetime | None = None
        self._fetched_checkpoint: float | None = None
        self._fetch_at: datetime | None = None
        self._unreachable = False
        self._warned: set[str] = set()
        self.figures: Figures | None = None
        self._finish_at: datetime | None = None

    def live(self, now: datetime) -> Live | None:
        """How far the command is; None before the guest told."""
        if self.figures is None:
            return None
        left_h = None if self._finish_at is None else (self._finish_at - now).total_seconds() / 3600
        return Live(self.figures.command_s / 3600, left_h)

    def look(self, cloud: Cloud, intent: Intent, run: Run, *, last: bool = False) -> Seen:
        """One look at the guest's report; the last one, when the machine is gone or has to go.

        None is taken, and nothing is seen, before it is due; of a run to be stopped each is.
        """
        if not (last or run.stop_requested or self._is_due(cloud, run)):
            return Seen()
        report = cloud.report(intent)
        self._reached()
        self._say_unclear(report)
        self._follow_log(cloud, intent, report)
        self._keep_figures(report)
        if report.end is not None:
            return self._ended(report.end, intent)
        if report.ended is not None and last:
            # It is not run again, whatever did not come home.
            self._view.warn("the machine went before all that the job left was brought home")
            return self._ended(report.ended, intent)
        if report.status:
            progress = self._forecaster.progress(run, report.status, self._clock.now())
            self._view.progress(run, progress)
            self._finish_at = progress.finish_at
            if progress.disagreement is not None:
                self._warn_once("steps", f"{progress.disagreement}. {_NO_FORECAST}")
            self._keep_checkpoint(cloud, intent, report)
            asked = self._overrunning(run, progress)
            if asked is not None:
                return Seen(fact=("stop_requested", {"why": asked, "by": "mlbroker"}))
            if self._adapting is not None and not last:
                fact = self._adapting.look(run, self.figures, self._clock.now())
                if fact is not None:
                    return Seen(fact=fact)
        if run.stop_requested and not self._stopping(cloud, intent, run.stop_requested):
            if report.ended is not None:
                return self._ended(report.ended, intent)
            return Seen(None, run.stop_requested, None, "the guest did not answer to the stop")
        return Seen(_PHASES.get(report.status.phase) if report.status else None)

    def _is_due(self, cloud: Cloud, run: Run) -> bool:
        pace, now = cloud.traits.looks, self._clock.now()
        if self._look_at is not None and now < self._look_at:
            return False
        if pace is not None:
            age_s = (now - run.attempt.began_at).total_seconds()
            self._look_at = now + timedelta(seconds=wait_s(*pace, age_s))
        return True

    def _follow_log(self, cloud: Cloud, intent: Intent, report: Report) -> None:
        try:
            self._pull_log(cloud, intent, report, PARTS_A_LOOK)
        except OSError as error:
            self._warn_once("log", f"the log cannot be kept, the run goes on: {error}")

    def _keep_figures(self, report: Report) -> None:
        """The last that were told: a machine that is lost says no more."""
        for said in (report.end, report.ended, report.status):
            if said is not None and said.figures is not None:
                self.figures = said.figures
                break
        # A checkpoint is saved once more after the end was written down.
        latest = report.status.figures if report.status is not None else None
        if self.figures is not None and latest is not None and latest.saved_s is not None:
            self.figures = replace(self.figures, saved_s=latest.saved_s)

    def _ended(self, end: End, intent: Intent) -> Seen:
        if end.log_bytes_dropped:
            lost = f"{end.log_bytes_dropped:,} bytes of the job's output"
            self._view.warn(f"{lost} are in no log: the machine's disk was full")
        rank = end.rank if intent.nodes > 1 else None
        return Seen(None, end.why, end.exit_code, end.detail, rank)

    def unreachable(self, error: CloudError) -> None:
        """The place does not answer: say so once. The kill time holds without us."""
        if not self._unreachable:
            self._view.warn(f"{error}; the run goes on and stays capped, trying again")
        self._unreachable = True

    def collect(self, cloud: Cloud, intent: Intent, way: Way) -> tuple[list[str], list[str]]:
        """Bring logs, checkpoint and outputs home: names of what came, and of what did not.

        What is not paid for `way` knows.
        """
        found: list[str] = []
        missing: list[str] = []
        self._try(
            found,
            missing,
            "log",
            lambda: self._pull_log(cloud, intent, cloud.report(intent), MOST_PARTS),
        )
        way.pay_log(self._log_bytes(intent))
        for name in self._names(intent):
            try:
                self._try(found, missing, name, partial(self._bring, cloud, intent, way, name))
            except Unpaid:
                missing.append(name)  # perhaps it is paid for when the machine is gone
        return found, missing

    def bring(self, cloud: Cloud, intent: Intent, way: Way, names: Collection[str]) -> list[str]:
        """Of files that were not paid for, those that are now."""
        found: list[str] = []
        for name in names:
            try:
                self._try(found, [], name, partial(self._bring, cloud, intent, way, name))
            except Unpaid as error:
                self._view.warn(str(error))
        return found

    def _log_bytes(self, intent: Intent) -> int:
        """How much of all machines' logs is here."""
        folders = map(self._folder.of_rank, range(intent.nodes))
        return sum(folder.log_offset(intent.attempt) for folder in folders)

    def _names(self, intent: Intent) -> list[str]:
        """Of what a machine leaves, by what they are called here."""
        outputs = f"outputs.{intent.attempt}.tar"
        folders = [self._folder.of_rank(rank).path / outputs for rank in range(intent.nodes)]
        return [files.CHECKPOINT, *(str(at.relative_to(self._folder.path)) for at in folders)]

    def _bring(self, cloud: Cloud, intent: Intent, way: Way, name: str) -> bool:
        if name == files.CHECKPOINT:
            return way.fetch(cloud, intent, name, self._folder.checkpoint, 0, name)
        rank, target = self._names(intent).index(name) - 1, self._folder.path / name
        came = way.fetch(cloud, intent, files.OUTPUTS_TAR, target, rank, name)
        if came:
            self._unpack(target, self._folder.of_rank(rank).outputs)
        return came

    def _try(self, found: list[str], missing: list[str], name: str, fetch: Any) -> None:
        for last in (False, True):
            try:
                if fetch():
                    found.append(name)
                return
            except Unpaid:
                raise
            except Unclear:
                if last:
                    missing.append(name)
                self._clock.sleep(1.0)
            except (CloudError, OSError, ValueError) as error:
                self._view.warn(f"{name} was not collected: {error}")
                missing.append(name)
                return

    def _unpack(self, archive: Path, folder: Path) -> None:
        """What can be had of it; an archive that was not all unpacked is kept beside the rest."""
        packed = archive.stat().st_size
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            room = room_below(str(folder))
            if packed > room:
                raise no_room("unpacking it", packed, room)
            with open(archive, "rb") as stream:
                _, left_out, missing = unpack(stream, str(folder))
        except (OSError, BadArchive) as error:
            why = why_of(error) if isinstance(error, OSError) else error
            self._view.warn(f"outputs were not all unpacked: {why}; all that came is in {archive}")
            return
        if missing:
            self._view.warn(f"outputs that did not come home: {missing}")
        if left_out:
            self._view.warn(f"outputs that stay in {archive}: {left_out}")
        else:
            archive.unlink()

    def _pull_log(self, cloud: Cloud, intent: Intent, report: Report, parts: int) -> bool:
        """Each machine's log into its own file; what rank 0 writes is shown.

        No more than so many parts, nor for longer than LOG_WITHIN_S, nor past what a log may take.
        """
        spoke = False
        until = self._clock.now() + timedelta(seconds=LOG_WITHIN_S)
        for rank, there in enumerate((report.log_bytes, *report.other_log_bytes)):
            folder = self._folder.of_rank(rank)
            # Anew each time: a write that failed half way left some of it.
            offset = folder.log_offset(intent.attempt)
            for _ in range(parts):
                if offset >= there or self._clock.now() > until:
                    break
                if self._log_most is not None and self._log_bytes(intent) >= self._log_most:
                    self._warn_once("log unpaid", _LOG_UNPAID)
                    break
                data = cloud.read_log(intent, offset, rank)[: max(0, folder.log_room())]
                if not data:
                    self._say_full(folder)
                    break
                folder.keep_log(intent.attempt, data)
                offset += len(data)
                if rank == 0:
                    self._view.output(data)
            spoke = spoke or offset > 0
        return spoke

    def _say_full(self, folder: RunFolder) -> None:
        if folder.log_room() <= 0:
            self._warn_once(
                f"full {folder.path}",
                f"the log has reached {size(LOG_KEPT_BYTES)}: no more of it is brought home",
            )

    def _keep_checkpoint(self, cloud: Cloud, intent: Intent, report: Report) -> None:
        if cloud.traits.looks is not None:
            # A bucket keeps it when the machine goes, and what leaves a cloud is paid for.
            return
        saved = report.status.checkpoint_at if report.status else None
        now = self._clock.now()
        due = self._fetch_at is None or now >= self._fetch_at
        if saved and saved != self._fetched_checkpoint and due:
            try:
                cloud.fetch(intent, files.CHECKPOINT, self._folder.checkpoint)
            except Unclear:
                raise
            except (CloudError, OSError) as error:
                self._warn_once("checkpoint", f"the checkpoint is not brought home: {error}")
            self._fetched_checkpoint = saved
            self._fetch_at = now + timedelta(seconds=FETCH_EVERY_S)

    def _overrunning(self, run: Run, progress: Progress) -> str | None:
        """Warn once for each way the forecast breaks; what to do about it was said at the start."""
        broken = overrun(progress)
        if broken is None or run.stop_requested:
            return None
        late = progress.finish_at is not None and progress.finish_at > progress.kill_at
        kind = "cap" if late else "deadline"
        if kind in self._warned:
            return None
        self._warned.add(kind)
        self._view.warn(broken)
        answer = self._view.overrun(run, self._order.on_overrun)
        if answer == "move" and not self._order.faster_than(run.attempt):
            self._view.warn("no machine of the plan is faster: it stays where it is")
            return None
        return answer

    def _stopping(self, cloud: Cloud, intent: Intent, why: str) -> bool:
        now = self._clock.now()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            cloud.stop_job(intent, why)
        patience_s = MOVE_PATIENCE_S if why in ("move", ADAPT) else STOP_PATIENCE_S
        return (now - self._stop_asked_at).total_seconds() < patience_s

    def _say_unclear(self, report: Report) -> None:
        """Once for each thing that the guest may mean, and nobody here understands."""
        for name in report.unclear:
            self._warn_once(
                f"unclear {name}",
                f"the machine's report is not understood in {name}: it counts as not said",
            )

    def _warn_once(self, what: str, text: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            self._view.warn(text)

    def _reached(self) -> None:
        if self._unreachable:
            self._view.warn("the machine answers again")
        self._unreachable = False
