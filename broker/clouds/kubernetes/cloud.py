"""Jobs in the user's own clusters: each attempt is a Job of batch/v1, called by its token.

The cluster starts it when it sees fit, and ends it in time. Job and results travel through a folder
of a volume that both sides have mounted; `BucketBox` reads and writes it as it does a bucket.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.clouds.bucket import BucketBox, run_folder
from mlbroker.broker.clouds.guest_report import End, Report
from mlbroker.broker.clouds.interface import (
    RUN_TAG,
    TOKEN_TAG,
    Cloud,
    Denied,
    Intent,
    Machine,
    MachineState,
    Payload,
    Traits,
    Unclear,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.kubernetes import manifests
from mlbroker.broker.clouds.kubernetes.access import Access, access_to
from mlbroker.broker.clouds.kubernetes.calls import Calls, Taken
from mlbroker.broker.clouds.kubernetes.folder import Folder
from mlbroker.broker.clouds.kubernetes.machines import Seen, seen_of
from mlbroker.broker.clouds.kubernetes.places import Place, Places
from mlbroker.broker.errors import CloudError
from mlbroker.broker.files.clusters import Cluster
from mlbroker.broker.files.nodes import ON_PREM
from mlbroker.broker.guest.bundle import guest_program

# Between the time limit and the last process: the controller looks, then the pod has its grace.
MARGIN_S = 30
# So long an image may not be had before it is taken for one that there is not.
_PULL_S = 300.0
# How long a pod that has not started is looked after while it goes.
_LOOKS, _LOOK_S = 20, 0.25
# So far a wrong clock is covered by the kill slack.
_CLOCK_S = 15.0


class _At(NamedTuple):
    """A place, and who answers for its cluster."""

    place: Place
    calls: Calls


class KubernetesCloud:
    """Places of the nodes file that are in clusters. A machine is called `PLACE/TOKEN`."""

    traits = Traits(
        kill_slack_s=manifests.GRACE_S + MARGIN_S,
        # What was written is read at once; what was sent may still be on its way.
        visible_after_s=10.0,
        remembers_s=manifests.KEPT_S - 3600.0,
        poll_s=2.0,
        layers=(
            "the cluster's own limit on Job and pod (activeDeadlineSeconds)",
            "the supervisor of the job in its pod",
            "a watchdog process in the pod that watches the supervisor",
        ),
    )

    def __init__(self, home: Path, access: Callable[[Cluster], Access] = access_to) -> None:
        self._places = Places(home)
        self._access = access
        self._clusters: dict[Cluster, Calls] = {}
        self._missing: dict[str, datetime] = {}
        self._failed: dict[str, str] = {}
        self._leaving: set[str] = set()

    # Where.

    def account(self) -> str:
        """They are the user's."""
        return ""

    def regions_set_up(self) -> frozenset[str]:
        """Own places stand in one."""
        return frozenset({ON_PREM})

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return "A cluster needs a node with `kubernetes:` in the nodes file: docs/kubernetes.md."

    def zones_for(
        self, region: str, instance_type: str, zone: str | None
    ) -> tuple[str | None, ...]:
        """The engine knows where; asked here, so that a cluster that is away is told at once."""
        place = self._places.named(instance_type)
        # Read once, which also needs the library.
        Folder(place, "none").box.reports(1)
        self._calls(place).list("jobs", labelSelector=f"{TOKEN_TAG}=none")
        return (zone,)

    def places(self, instance_type: str) -> int | None:
        """The cluster knows, and queues what it has no room for."""
        return None

    def has_room(self, instance_type: str, places: int = 1) -> bool:
        """What waits in the cluster costs nothing."""
        return True

    # Its life.

    def arm_kill(self, intent: Intent) -> None:
        """The limit goes with the Job. Where it is has to be known to later processes, too."""
        self._places.keep(self._places.named(intent.instance_type), intent.token)

    def disarm_kill(self, intent: Intent) -> None:
        """It went with the Job."""

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay the folder out, then make the Job; one of this name is ours, or refused.

        Its pod waits for the Secret that comes after it, which so is the Job's from the first.
        """
        place, calls = self._at(intent.token, intent.instance_type)
        with refusals_make_nothing():
            # A list, which answers in any case, and so tells the cluster's time.
            labels = manifests.selector({TOKEN_TAG: intent.token})
            there = next(iter(calls.list("jobs", labelSelector=labels)), None)
            seconds = self._seconds_left(intent, calls)
            program = guest_program()
            digest = hashlib.sha256(program).hexdigest()
            folder = run_folder(intent.token)
            made = manifests.job(intent, place, folder, digest, bool(payload.secrets))
            if there is None:
                if Folder(place, intent.token).is_over:
                    raise Denied(f"the attempt {intent.token} is over, or was called off")
                Folder(place, intent.token).lay_out(intent, payload, program)
        if there is None:
            try:
                with refusals_make_nothing():
                    there = calls.create("jobs", manifests.limited(made, seconds))
            except Taken:
                there = calls.get("jobs", intent.token)
        if there is None:
            raise Denied(f"the Job {intent.token} was there and is gone", where=calls.where)
        hashes = [job["metadata"].get("labels", {}).get(manifests.HASH) for job in (there, made)]
        if hashes[0] != hashes[1]:
            raise Denied(
                f"there is a Job {intent.token} in {calls.namespace} that is another one",
                where=calls.where,
                hint="Nobody but mlbroker makes Jobs of such names: see who made it.",
            )
        if payload.secrets and not Folder(place, intent.token).is_over:
            self._hand_over(_At(place, calls), intent, payload.secrets, there)
        machine = self.status(_id(place, intent.token))
        if machine is None:
            raise Denied(f"the Job {intent.token} went as soon as it was made", where=calls.where)
        return machine

    def cancel(self, intent: Intent) -> None:
        """A Job that is still on its way finds in its folder that it is not to run."""
        place = self._places.of_attempt(intent.token)
        if place is not None:
            Folder(place, intent.token).call_off()

    def terminate(self, machine_id: str) -> None:
        """Ask for the end of what still lives; what has ended is kept until it was settled."""
        at, token = self._of(machine_id)
        Folder(at.place, token).call_off()
        seen = self._seen(at, token)
        if seen is None or seen.state is MachineState.TERMINATED:
            return
        # Its guest has told its end: the pod goes by itself, and leaves its times behind.
        told = Folder(at.place, token).box.reports(1)[0].end is not None
        if told and not seen.stands_still and token not in self._leaving:
            self._leaving.add(token)
            return
        self._delete(at, token)

    def discard(self, intent: Intent) -> None:
        """Take folder and Job away, and with it its Secret. One that comes later finds no program.

        What the cluster does not take now it removes by itself, `KEPT_S` after its end.
        """
        place = self._places.of_attempt(intent.token)
        if place is None:
            return
        Folder(place, intent.token).remove()
        self._delete(_At(place, self._calls(place)), intent.token)
        self._places.forget(intent.token)

    # What is to be seen.

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """The Jobs with these labels, and pods whose Job is gone, wherever any may be."""
        found: dict[str, Machine] = {}
        query = manifests.selector(manifests.tags_as_labels(tags))
        for place in self._where_to_look(tags.get(TOKEN_TAG)):
            at = _At(place, self._calls(place))
            names = [job["metadata"]["name"] for job in at.calls.list("jobs", labelSelector=query)]
            pods = at.calls.list("pods", labelSelector=query)
            names += [(pod["metadata"].get("labels") or {}).get(TOKEN_TAG) for pod in pods]
            for token in dict.fromkeys(filter(None, names)):
                # Several places may be in one cluster.
                own = self._places.of_attempt(token) or place
                machine = self.status(_id(own, token))
                if machine is not None and tags.items() <= machine.tags.items():
                    found.setdefault(token, machine)
        return list(found.values())

    def status(self, machine_id: str) -> Machine | None:
        """By Job and pods; when a pod that is gone has run tells the folder."""
        at, token = self._of(machine_id)
        seen = self._seen(at, token)
        now = at.calls.now or datetime.now(UTC)
        if seen is None:
            return self._gone(at.place, token, machine_id, now)
        self._missing.pop(token, None)
        if seen.failed is not None:
            self._failed[token] = seen.failed
        if seen.stands_still and Folder(at.place, token).has_begun:
            # Its queue took its pod away: it goes on as another attempt, from its checkpoint.
            ended = Machine(machine_id, MachineState.TERMINATED, seen.tags, preempted=True)
            return replace(ended, started_at=Folder(at.place, token).began_at)
        started_at = seen.started_at
        if started_at is None and seen.state is not MachineState.PENDING:
            started_at = Folder(at.place, token).began_at
        waited_s = 0.0 if seen.asked_at is None else (now - seen.asked_at).total_seconds()
        most_s = min(at.place.cluster.max_wait_s, _PULL_S if seen.pulls else float("inf"))
        waits = seen.waits
        if seen.state is MachineState.PENDING and waits is None:
            waits = self._complaint(at, seen.pod or token)
        return Machine(
            machine_id,
            seen.state,
            seen.tags,
            started_at,
            seen.ended_at,
            preempted=seen.preempted,
            says=seen.failed if seen.state is MachineState.TERMINATED else waits,
            kill_at=seen.kill_at,
            stuck=seen.state is MachineState.PENDING and (seen.hopeless or waited_s > most_s),
        )

    def console_log(self, machine_id: str) -> str:
        """What the pod's container said, and why it did not start."""
        at, token = self._of(machine_id)
        pods = self._pods(at, token)
        said = [at.calls.log(pod["metadata"]["name"]) for pod in pods]
        return "\n".join([*said, self._failed.get(token, "")]).strip()

    # What the guest says.

    def report(self, intent: Intent) -> Report:
        """As it lies in the folder; of a pod that failed without a word, what the cluster says."""
        place = self._places.of_attempt(intent.token)
        if place is None:
            return Report()
        report = Folder(place, intent.token).box.reports(1)[0]
        failed = self._failed.get(intent.token)
        if failed is not None and report.end is None and report.ended is None:
            late = failed.startswith("DeadlineExceeded")
            return replace(report, end=End("capped" if late else "machine_failed", detail=failed))
        return report

    def stop_job(self, intent: Intent, why: str) -> None:
        """Leave the request where the courier looks for it."""
        self._own(intent).ask_to_stop(why)

    def read_log(self, intent: Intent, offset: int, rank: int = 0) -> bytes:
        """From the parts in the folder."""
        return self._own(intent).read_log(offset, rank)

    def fetch(self, intent: Intent, name: str, target: Path, rank: int = 0) -> bool:
        """From the folder."""
        return self._own(intent).fetch(name, target, rank)

    # What is behind it.

    def _own(self, intent: Intent) -> BucketBox:
        place = self._places.of_attempt(intent.token) or self._places.named(intent.instance_type)
        return Folder(place, intent.token).box

    def _calls(self, place: Place) -> Calls:
        cluster = place.cluster
        if cluster not in self._clusters:
            self._clusters[cluster] = Calls(lambda: self._access(cluster))
        return self._clusters[cluster]

    def _at(self, token: str, name: str) -> _At:
        place = self._places.of_attempt(token) or self._places.named(name)
        return _At(place, self._calls(place))

    def _of(self, machine_id: str) -> tuple[_At, str]:
        name, _, token = machine_id.partition("/")
        return self._at(token, name), token

    def _where_to_look(self, token: str | None) -> list[Place]:
        """One for each namespace that may hold the attempt's Job, or any of ours."""
        own = None if token is None else self._places.of_attempt(token)
        there = [own] if own else [*self._places.used(), *self._places.described()]
        by_namespace = {self._calls(place).identity: place for place in there}
        return list(by_namespace.values())

    def _pods(self, at: _At, token: str) -> list[manifests.Object]:
        labels = manifests.tags_as_labels({TOKEN_TAG: token})
        return at.calls.list("pods", labelSelector=manifests.selector(labels))

    def _seen(self, at: _At, token: str) -> Seen | None:
        return seen_of(at.calls.get("jobs", token), self._pods(at, token))

    def _gone(self, place: Place, token: str, machine_id: str, now: datetime) -> Machine | None:
        """Neither Job nor pod: for a while that says nothing; then, whether it ever began does."""
        since = self._missing.setdefault(token, now)
        waited = (now - since).total_seconds() >= self.traits.visible_after_s / 2
        known = self._places.of_attempt(token) is not None
        if not (waited and known) or Folder(place, token).has_begun:
            return None
        tags = {TOKEN_TAG: token, RUN_TAG: token.removeprefix("mlb-").rpartition("-")[0]}
        return Machine(machine_id, MachineState.TERMINATED, tags)

    def _complaint(self, at: _At, name: str) -> str | None:
        """What the cluster says of a Job without pods, or of a pod, where that may be read."""
        try:
            events = at.calls.list("events", fieldSelector=f"involvedObject.name={name}")
        except CloudError:
            return None
        bad = [event for event in events if event.get("type") == "Warning"]
        return f"{bad[-1].get('reason')}: {bad[-1].get('message')}" if bad else None

    def _seconds_left(self, intent: Intent, calls: Calls) -> int:
        """Until the kill time, by the cluster's clock. One that is ahead here grants too much."""
        now = calls.now or datetime.now(UTC)
        ahead = (intent.intended_at - now).total_seconds()
        if ahead > _CLOCK_S:
            raise Denied(
                f"this machine's clock is {ahead:.0f} s ahead of the cluster's: the cap would not "
                "hold",
                where=calls.where,
                hint="Set the clock right, then run again.",
            )
        seconds = int((intent.kill_at - now) / timedelta(seconds=1))
        if seconds < 1:
            raise Denied("the kill time is past by the cluster's clock", where=calls.where)
        return seconds

    def _delete(self, at: _At, token: str) -> None:
        at.calls.delete("jobs", token, propagationPolicy="Foreground")
        for pod in self._pods(at, token):
            owners = pod["metadata"].get("ownerReferences")
            if not owners and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                # Somebody removed the Job and left its pod.
                at.calls.delete("pods", pod["metadata"]["name"])

    def _hand_over(
        self, at: _At, intent: Intent, secrets: Mapping[str, str], job: manifests.Object
    ) -> None:
        try:
            at.calls.create("secrets", manifests.secret_of(intent, secrets, job))
        except Taken:
            # Of a request before this one, with the same values: they cannot be changed.
            return
        except Unclear:
            raise
        except CloudError as error:
            # Its pod would wait for it in vain.
            Folder(at.place, intent.token).call_off()
            self._delete(at, intent.token)
            for _ in range(_LOOKS):
                if self._seen(at, intent.token) is None:
                    error.made_nothing = True
                    break
                time.sleep(_LOOK_S)
            raise


def _id(place: Place, token: str) -> str:
    return f"{place.name}/{token}"


def open_cloud(home: Path) -> Cloud:
    """This state folder's."""
    return KubernetesCloud(home)
