"""What the API server says of a Job and its pods, as the machine of an attempt.

States: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and
https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mlbroker.broker.clouds.interface import RUN_TAG, TOKEN_TAG, MachineState
from mlbroker.broker.clouds.kubernetes.manifests import TAKEN

Object = Mapping[str, Any]

_OVER = ("Succeeded", "Failed")
# As it is, the container never starts; an image that cannot be pulled yet is tried again.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
_PULLING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_NO_PYTHON = (
    "the guest program needs python3, 3.8 or later, in the image: name another `image:` in the node"
)

_NO_RIGHT = "the pod's user may not write in the volume: set `run_as_user` in the node to your own"
_NO_PROGRAM = (
    "the pod finds no program in its volume: `mounted_at` on this machine and the claim (with its "
    "`sub_path`) are not the same folder"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A Job with its pods. `waits` says why it does not run yet, `failed` why no guest told how it
    ended. `stands_still`: a queue took its pod away, and would start another.
    `pod` is the name of the one that has not started; `kill_at` is when the Job's limit ends it.
    """

    state: MachineState
    tags: Mapping[str, str]
    asked_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    preempted: bool = False
    stands_still: bool = False
    waits: str | None = None
    hopeless: bool = False
    pulls: bool = False
    failed: str | None = None
    pod: str | None = None
    kill_at: datetime | None = None


def seen_of(job: Object | None, pods: Sequence[Object]) -> Seen | None:
    """What is there under one name; None when nothing is."""
    if job is None and not pods:
        return None
    began = _time(_at(job or {}, "status", "startTime"))
    limit_s = _at(job or {}, "spec", "activeDeadlineSeconds")
    kill_at = None if began is None or limit_s is None else began + timedelta(seconds=limit_s)
    return replace(_seen_of(job, pods), kill_at=kill_at)


def _seen_of(job: Object | None, pods: Sequence[Object]) -> Seen:
    first = job or pods[0]
    labels = _at(first, "metadata", "labels") or {}
    tags = {name: str(labels[name]) for name in (RUN_TAG, TOKEN_TAG) if name in labels}
    asked_at = _time(_at(first, "metadata", "creationTimestamp"))
    ran = [_times(state) for pod in pods for state in _containers(pod)]
    began = min((start for start, _ in ran if start is not None), default=None)
    live = [pod for pod in pods if _at(pod, "status", "phase") not in _OVER]
    over = job is None or _condition(job, "Complete") or _condition(job, "Failed")
    if not live and over:
        ends = [end for _, end in ran if end is not None]
        told = _condition_of(job or {}, "Failed") or {}
        taken = told.get("reason") == "PodFailurePolicy" or any(
            _condition(pod, TAKEN) for pod in pods
        )
        failed = next((why for pod in pods if (why := _failure(pod))), _job_failure(job))
        return Seen(
            MachineState.TERMINATED,
            tags,
            asked_at,
            began,
            max(ends, default=_closed_at(job)),
            preempted=taken,
            failed=None if taken else failed,
        )
    suspended = _at(job or {}, "spec", "suspend") is True
    leaving = [pod for pod in live if _at(pod, "metadata", "deletionTimestamp")]
    if over or _at(job or {}, "metadata", "deletionTimestamp") or (live and live == leaving):
        return Seen(MachineState.TERMINATING, tags, asked_at, began)
    if began is not None:
        return Seen(MachineState.RUNNING, tags, asked_at, began)
    waits, reason = _why_it_waits(job, live, suspended)
    return Seen(
        MachineState.PENDING,
        tags,
        asked_at,
        stands_still=suspended and not live,
        waits=waits,
        hopeless=reason in _HOPELESS,
        pulls=reason in _PULLING,
        pod=next((_at(pod, "metadata", "name") for pod in live), None),
    )


def _why_it_waits(
    job: Object | None, pods: Sequence[Object], suspended: bool
) -> tuple[str | None, str]:
    """In words, and as Kubernetes calls it."""
    for pod in pods:
        placed = _condition_of(pod, "PodScheduled")
        if placed is not None and placed.get("status") == "False":
            reason = str(placed.get("reason") or "Unschedulable")
            return f"no node takes it: {placed.get('message') or reason}", reason
        for state in _containers(pod):
            waiting = state.get("waiting")
            reason = str((waiting or {}).get("reason") or "")
            if waiting and reason not in ("", "ContainerCreating", "PodInitializing"):
                return f"{reason}: {waiting.get('message') or 'no more is said'}", reason
    if suspended:
        queue = (_at(job or {}, "metadata", "labels") or {}).get("kueue.x-k8s.io/queue-name")
        return f"it waits in Kueue's queue {queue}" if queue else "it is suspended", "Suspended"
    return None, ""


def _failure(pod: Object) -> str | None:
    """Why a pod failed, where its own guest may have had no say."""
    said = [str(_at(pod, "status", key) or "") for key in ("reason", "message")]
    if said[0]:
        return ": ".join(filter(None, said))
    for state in _containers(pod):
        ended = state.get("terminated")
        if ended and (ended.get("exitCode") or ended.get("reason") not in (None, "Completed")):
            reason, message = str(ended.get("reason") or ""), str(ended.get("message") or "")
            words = f"{reason}: {message or 'exit ' + str(ended.get('exitCode'))}"
            if "python3" in message and "not found" in message:
                return f"{words}; {_NO_PYTHON}"
            if "PermissionError" in message and "/mlbroker/" in message:
                return f"{words}; {_NO_RIGHT}"
            lacks = "FileNotFoundError" in message and "/guest.pyz" in message
            return _NO_PROGRAM if lacks else words
    return None


def _job_failure(job: Object | None) -> str | None:
    failed = None if job is None else _condition_of(job, "Failed")
    if failed is None or failed.get("status") != "True":
        return None
    return f"{failed.get('reason') or 'Failed'}: {failed.get('message') or 'no more is said'}"


def _closed_at(job: Object | None) -> datetime | None:
    told = (_condition_of(job or {}, kind) for kind in ("Complete", "Failed"))
    times = [_time(c.get("lastTransitionTime")) for c in told if c and c.get("status") == "True"]
    return next((time for time in times if time is not None), None)


def _condition(thing: Object, kind: str) -> bool:
    found = _condition_of(thing, kind)
    return found is not None and found.get("status") == "True"


def _condition_of(thing: Object, kind: str) -> Object | None:
    there = _at(thing, "status", "conditions") or []
    return next((each for each in there if each.get("type") == kind), None)


def _containers(pod: Object) -> Iterator[Object]:
    for container in _at(pod, "status", "containerStatuses") or []:
        yield container.get("state") or {}


def _times(state: Object) -> tuple[datetime | None, datetime | None]:
    """When a container started and ended."""
    if state.get("running"):
        return _time(state["running"].get("startedAt")), None
    ended = state.get("terminated") or {}
    return _time(ended.get("startedAt")), _time(ended.get("finishedAt"))


def _time(text: object) -> datetime | None:
    # One that never began is written as the year 1 or as 1970.
    found = datetime.fromisoformat(text) if isinstance(text, str) else None
    return None if found is None or found.year < 2000 else found


def _at(thing: Object, *keys: str) -> Any:
    found: Any = thing
    for key in keys:
        found = (found or {}).get(key)
    return found
