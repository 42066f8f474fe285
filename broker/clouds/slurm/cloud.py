"""A cluster under Slurm: an attempt is a job of its name, and a box in a folder that nodes share.

Slurm says whether a job lives, the box what the guest program in it reports. A second job of the
same name never starts beside the first (`--dependency=singleton`), nor after it: the box is used
once. See docs/slurm.md.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlbroker.broker.clouds.arriving import arriving
from mlbroker.broker.clouds.guest_report import Report
from mlbroker.broker.clouds.interface import (
    TOKEN_TAG,
    Cloud,
    Denied,
    Intent,
    Machine,
    MachineState,
    Payload,
    Traits,
    Unclear,
    Unfit,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.on_prem import checked, id_of, parts_of
from mlbroker.broker.clouds.slurm import calls
from mlbroker.broker.clouds.slurm.box import LOG, PROGRAM, SharedBox
from mlbroker.broker.clouds.slurm.machines import (
    BY_SIGNAL,
    ENDS,
    end_by,
    machine_of,
    most_telling,
    tags_of,
    word_since,
)
from mlbroker.broker.clouds.slurm.memory import Memory
from mlbroker.broker.clouds.slurm.request import begun_on, minutes_of, options_of, script_of
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.files.nodes import ON_PREM
from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.watchdog import SECRETS

# A controller that starts again may list a job late; one that is not listed for so long is gone.
VISIBLE_AFTER_S = 10.0
POLL_S = 1.0
# The longer a job waits, the more rarely the controller is asked for it.
_SHARE_OF_WAIT, _LONGEST_WAIT_S = 0.1, 30.0


@dataclass(frozen=True, slots=True)
class _Look:
    """What was last seen of a job, when, by the clock that only grows, and its guest's beat."""

    job: calls.Job
    at: float
    pending_since: float | None
    beat: object


class SlurmCloud:
    """The cluster of this machine's Slurm commands. Machine ids name node entry and token."""

    def __init__(self, home: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = Memory(home)
        self._clock = clock
        self._site: calls.Site | None = None
        self._slack_s: float | None = None
        self._looks: dict[str, _Look] = {}

    @property
    def traits(self) -> Traits:
        """With this cluster's slack; what it was when last asked where the controller is down, and
        Slurm's usual one where it never was. `arm_kill` makes sure.
        """
        return Traits(
            kill_slack_s=self._slack(),
            visible_after_s=VISIBLE_AFTER_S,
            poll_s=POLL_S,
            layers=(
                "Slurm's time limit of the job",
                "the supervisor of the job on its node",
                "a watchdog process on the node that watches the supervisor",
            ),
            queues=True,
            lifetime_step_s=60,
        )

    def account(self) -> str:
        """User and cluster: with other commands or another slurm.conf its jobs are not to be seen.

        Also says that the controller answers.
        """
        return f"{calls.user()}@{self._known_site().cluster}"

    def regions_set_up(self) -> frozenset[str]:
        """A cluster stands in one."""
        return frozenset({ON_PREM})

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return "A cluster needs nothing but a node with slurm in the nodes file."

    def zones_for(
        self, region: str, instance_type: str, zone: str | None
    ) -> tuple[str | None, ...]:
        """It has none."""
        return (zone,)

    def places(self, instance_type: str) -> int | None:
        """It queues by itself."""
        return None

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        """It takes whatever comes."""
        return True

    def arm_kill(self, intent: Intent) -> None:
        """The limit comes with the job. Here its box's place is kept, and its slack is sure."""
        _, place = self._memory.node(intent.instance_type)
        reckoned_s, used = self._slack(), self._memory.partitions()
        try:
            self._site = site = calls.site()
        except Unclear as error:
            # Nothing was asked for yet.
            with refusals_make_nothing():
                raise Denied(f"nothing is launched: {error.what}", where="slurm") from error
        self._memory.keep_slack(site.slack_s(used))
        partition = site.partition(place.partition)
        with refusals_make_nothing():
            if partition is not None and partition.over_s is None:
                raise Denied(
                    f"partition {partition.name} lets jobs run past their limit for any time",
                    where="OverTimeLimit",
                    hint="No cap would hold: ask for another partition.",
                )
            slack_s = site.slack_s([place.partition])
            if slack_s > reckoned_s:
                raise Denied(
                    f"jobs last {slack_s:.0f} s past their limit there, and the cap was "
                    f"reckoned with {reckoned_s:.0f} s",
                    hint="Its controller could not be asked before. Run it again.",
                )
        self._memory.keep(checked(intent.token), place)

    def disarm_kill(self, intent: Intent) -> None:
        """Nothing outlives the job."""
        return

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay out the box and hand the job to sbatch; one that was handed over is left as it is."""
        token = checked(intent.token)
        machine_id = id_of(intent.instance_type, token)
        there = self.status(machine_id)
        if there is not None:
            return there
        box = self._box(token)
        if box.prevented:
            raise Denied(f"the box {token} was cancelled before it started")
        with refusals_make_nothing():
            if intent.nodes > 1:
                raise Unfit(f"a job there has one node, and the run has {intent.nodes}")
            node, place = self._memory.node(intent.instance_type)
        site = self._known_site()
        if payload.secrets and site.stores_environment:
            raise Denied(
                "this Slurm keeps the environment of jobs in its accounting, secrets included",
                where="AccountingStoreFlags=job_env",
                hint="Let the job read its secrets from a file of your own.",
            )
        minutes = minutes_of(intent, site.partition(place.partition))
        lifetime_s = (intent.kill_at - intent.intended_at).total_seconds()
        tags = dict(intent.tags)
        limits = {"lifetime_s": min(lifetime_s, minutes * 60.0)}
        box.lay_out({**payload.spec, **limits, "token": token, "tags": tags}, payload)
        # A job's environment is no argument and no file of ours.
        secrets = {SECRETS: json.dumps(dict(payload.secrets))} if payload.secrets else {}
        options = options_of(token, node, place, minutes, box.folder)
        calls.submit(options, script_of(box.folder, PROGRAM), secrets)
        return Machine(machine_id, MachineState.PENDING, tags)

    def cancel(self, intent: Intent) -> None:
        """Mark the box, so that a job still on its way does nothing, and take away what is there.

        Raises Unclear where the controller does not answer.
        """
        token = checked(intent.token)
        self._box(token).prevent()
        self._looks.pop(token, None)
        calls.cancel(token)

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """This user's jobs with these tags, which their names tell; none that never started and
        never will.
        """
        token = tags.get(TOKEN_TAG)
        if token is not None:
            found = {token} if tags_of(token) else set()
        else:
            found = {job.name for job in calls.jobs() if tags_of(job.name)}
        machines = [
            self.status(id_of("slurm", name))
            for name in sorted(found)
            if tags.items() <= tags_of(name).items()
        ]
        return [m for m in machines if m is not None and (m.ended_at is None or m.started_at)]

    def status(self, machine_id: str) -> Machine | None:
        """By Slurm's listing; of a job that it does not list any more, by its accounting and its
        box. A guest that is seen at work needs no listing.
        """
        _, token = parts_of(machine_id)
        box, last, now = self._box(token), self._looks.get(token), self._clock()
        beat = box.beat()
        if last is not None and not self._is_due(last, beat, now):
            self._looks[token] = replace(last, beat=beat)
            return machine_of(machine_id, last.job)
        job = self._job(token, box)
        if job is None:
            self._looks.pop(token, None)
            return None
        pending = job.state is MachineState.PENDING
        since = None if not pending else now if last is None else last.pending_since or now
        self._looks[token] = _Look(job, now, since, beat)
        return machine_of(machine_id, job)

    def terminate(self, machine_id: str) -> None:
        """Take the job out of the queue, or end it; also where Slurm forgot it."""
        _, token = parts_of(machine_id)
        box = self._box(token)
        box.prevent()
        if box.started:
            box.stop("stopped")
        self._looks.pop(token, None)
        calls.cancel(token)

    def hold(self, machine_id: str) -> None:
        """By `scontrol hold`, which leaves alone what runs."""
        calls.hold(checked(parts_of(machine_id)[1]), held=True)

    def release(self, machine_id: str) -> None:
        """By `scontrol release`."""
        calls.hold(checked(parts_of(machine_id)[1]), held=False)

    def console_log(self, machine_id: str) -> str:
        """What watchdog and supervisor had to say about themselves, and Slurm about the job."""
        _, token = parts_of(machine_id)
        return self._box(token).read(LOG, 0).decode("utf-8", "replace")

    def report(self, intent: Intent) -> Report:
        """What the guest wrote; of an end that it does not know, or not the reason of, Slurm's."""
        token = checked(intent.token)
        box = self._box(token)
        ended = box.ended()
        if ended is None:
            job = self._looks[token].job if token in self._looks else None
            if job is None or job.state is not MachineState.TERMINATED:
                return box.report(None, final=False)
            why = ENDS.get(job.word, "machine_failed")
            return box.report(end_by(job, why, None, box.last_words), final=True)
        by_signal = ended.get("why") in BY_SIGNAL and not box.asked_to_stop
        if not by_signal and box.over:
            return box.report(ended, final=True)
        machine = self.status(id_of(intent.instance_type, token))
        final = machine is None or machine.state is MachineState.TERMINATED
        job = self._looks[token].job if token in self._looks else None
        if by_signal and final and job is not None and job.word in ENDS:
            ended = end_by(job, ENDS[job.word], ended, "")
        return box.report(ended, final)

    def stop_job(self, intent: Intent, why: str) -> None:
        """Leave the request where the supervisor looks for it."""
        self._box(checked(intent.token)).stop(why)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        """From the log file itself."""
        return self._box(checked(intent.token)).read(files.LOG, offset)

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        """Copied whole, or not at all."""
        box = self._box(checked(intent.token))
        if not box.started:
            return False
        if name == files.CHECKPOINT and not self.report(intent).checkpoint_bytes:
            return False
        with arriving(target) as file:
            box.get(name, file)
        return file.written > 0

    def discard(self, intent: Intent) -> None:
        """Remove the box's bulk, and let go of where it was."""
        token = checked(intent.token)
        self._box(token).discard()
        self._memory.forget(token)

    def _box(self, token: str) -> SharedBox:
        return SharedBox(self._memory.box(checked(token)))

    def _known_site(self) -> calls.Site:
        if self._site is None:
            self._site = calls.site()
        return self._site

    def _slack(self) -> float:
        """Asked for once: who finds the controller down waits long enough for his other calls."""
        if self._slack_s is None:
            try:
                self._slack_s = self._known_site().slack_s(self._memory.partitions())
                self._memory.keep_slack(self._slack_s)
            except MlbrokerError:
                usual_s = calls.LATE_S + calls.USUAL_KILL_WAIT_S
                self._slack_s = self._memory.slack_s() or usual_s
        return self._slack_s

    def _is_due(self, last: _Look, beat: object, now: float) -> bool:
        """Whether Slurm has to be asked again."""
        if last.job.state is MachineState.RUNNING:
            return beat is None or beat == last.beat
        if last.pending_since is not None:
            waited_s = now - last.pending_since
            return now - last.at >= min(_LONGEST_WAIT_S, _SHARE_OF_WAIT * waited_s)
        return last.job.state is not MachineState.TERMINATED

    def _job(self, token: str, box: SharedBox) -> calls.Job | None:
        """As the controller lists it, as the accounting saw it end, or as its box tells."""
        listed = calls.jobs(token)
        found = most_telling(listed, box.started)
        if found is not None:
            return found
        past = None
        if self._known_site().accounting:
            day = begun_on(token) or datetime.now(UTC) - timedelta(days=30)
            past = most_telling(calls.past_jobs(token, day - timedelta(days=1)), box.started)
        if past is not None or not box.started:
            return past
        began, ended = box.times()
        if ended is None and box.locked():
            # Forgotten by a controller that was killed, and not found yet on its node.
            return calls.Job(token, "RUNNING", began)
        if ended is None:
            last_beat = self._stalled(token, box)
            if last_beat is None:
                return calls.Job(token, "RUNNING", began)
            ended = last_beat
        return calls.Job(token, word_since(listed, began), began, ended)

    def _stalled(self, token: str, box: SharedBox) -> datetime | None:
        """When its guest last gave a sign, once there was none for long enough; else None."""
        beat = box.beat()
        time.sleep(VISIBLE_AFTER_S)
        if beat != box.beat() or most_telling(calls.jobs(token), started=True) is not None:
            return None
        began, _ = box.times()
        try:
            return datetime.fromtimestamp(float(str(beat)), UTC)
        except (ValueError, OverflowError, OSError):
            return began or datetime.now(UTC)


def open_cloud(home: Path) -> Cloud:
    """This state folder's."""
    return SlurmCloud(home)
