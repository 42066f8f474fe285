"""The loopback cluster's controllers: Jobs make pods, nodes run them, owners take theirs along.

As kubernetes.io/docs/concepts/workloads/controllers/job has it, of version 1.31: time limits count
from `startTime`, a Job is Failed only once its pods are gone, and a suspended one has none.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.kubernetes.kubelet import BARE, IMAGES, Kubelet
from tests.support.kubernetes.store import Object, Store, stamp
from tests.support.loopback_clock import VirtualClock

_POLL_S = 0.1
_OVER = ("Succeeded", "Failed")


class Cluster:
    """What a test may set: how many pods run at once, and what a quota leaves of them."""

    def __init__(self, clock: VirtualClock, volumes: dict[str, Path]) -> None:
        self.clock = clock
        self.store = Store(clock.now)
        self.volumes = volumes
        self.kubelet: Kubelet
        self.most_pods = 100
        self.pod_quota: int | None = None
        self.start_s = 1.0
        self.deletes_stall = 0
        self.kueue_admits = True
        self.images = list(IMAGES)
        # Every Job and every pod there ever was: what a campaign audits.
        self.history: dict[str, Object] = {}
        self.pods: list[Object] = []
        self._lost: set[str] = set()

    # What befalls it.

    def evict(self, pod: Object, why: str = "PreemptionByScheduler") -> None:
        """Its place is needed for another."""
        with self.clock.lock:
            self._condition(pod, "DisruptionTarget", True, why, "made room")
            self.delete_pod(pod)

    def lose_node(self, pod: Object) -> None:
        """Container and all are gone at once."""
        with self.clock.lock:
            self.kubelet.kill(pod)
            self._condition(pod, "DisruptionTarget", True, "DeletionByTaintManager", "node lost")
            self._close(pod, 137, "Error")
            self._forget(pod)
            self.work()

    # The controllers.

    def work(self) -> None:
        """Everything that is to be done now."""
        with self.clock.lock:
            for _ in range(20):
                before = self.store._version
                for job in self.store.all("jobs"):
                    self._job(job)
                for pod in self.store.all("pods"):
                    self._pod(pod)
                self._collect_garbage()
                if self.store._version == before:
                    return

    def delete_job(self, job: Object, policy: str) -> None:
        if self.deletes_stall > 0:
            self.deletes_stall -= 1
            return
        meta = job["metadata"]
        if policy == "Foreground":
            meta.setdefault("deletionTimestamp", stamp(self.clock.now()))
            meta["finalizers"] = ["foregroundDeletion"]
            self.store.touched(job)
        elif policy == "Background":
            self.store.remove("jobs", job)
            self.store._version += 1
        else:
            for _, thing in self.store.owned(job):
                thing["metadata"].pop("ownerReferences")
                self.store.touched(thing)
            self.store.remove("jobs", job)

    def delete_pod(self, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            return
        grace_s = pod["spec"].get("terminationGracePeriodSeconds", 30)
        pod["metadata"]["deletionTimestamp"] = stamp(self.clock.now())
        self.store.touched(pod)
        if pod["status"].get("phase") == "Running":
            self.kubelet.ask_to_end(pod)
            self.clock.after(grace_s, lambda: self._grace_over(pod))
        else:
            self._forget(pod)

    def _grace_over(self, pod: Object) -> None:
        if pod["status"].get("phase") == "Running":
            self.kubelet.kill(pod)
            self.work()

    def _job(self, job: Object) -> None:
        spec, status, meta = job["spec"], job["status"], job["metadata"]
        self.history[meta["uid"]] = job
        pods = list(self.pods_of(job))
        live = [pod for pod in pods if pod["status"].get("phase") not in _OVER]
        if meta.get("deletionTimestamp"):
            for pod in pods:
                self.delete_pod(pod)
            return
        if self.finished(job):
            return
        if spec.get("suspend") and _kueue(job) and self.kueue_admits and not live:
            spec["suspend"] = False
            self.store.touched(job)
        if spec.get("suspend"):
            self._condition(job, "Suspended", True, "JobSuspended", "Job suspended")
            for pod in live:
                self._lost.discard(meta["uid"])
                pod["_suspended"] = True
                self.delete_pod(pod)
            if not live and status.pop("startTime", None):
                self.store.touched(job)
            return
        if "startTime" not in status:
            status["startTime"] = stamp(self.clock.now())
            job["_deadline"] = None
            if "activeDeadlineSeconds" in spec:
                job["_deadline"] = self.clock.now() + timedelta(
                    seconds=spec["activeDeadlineSeconds"]
                )
                self.clock.at(job["_deadline"], self.work)
            self._condition(job, "Suspended", False, "JobResumed", "Job resumed")
            self.store.touched(job)
        if job["_deadline"] is not None and self.clock.now() >= job["_deadline"]:
            job.setdefault("_failing", ("DeadlineExceeded", "Job was active longer than specified"))
        failed = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
        taken = [pod for pod in failed if _has_condition(pod, "DisruptionTarget")]
        if taken or job.get("_taken"):
            words = "Pod has condition DisruptionTarget matching FailJob rule at index 0"
            job.setdefault("_failing", ("PodFailurePolicy", words))
        if failed or meta["uid"] in self._lost:
            words = "Job has reached the specified backoff limit"
            job.setdefault("_failing", ("BackoffLimitExceeded", words))
        if "_failing" in job:
            for pod in live:
                self.delete_pod(pod)
            if not [p for p in self.pods_of(job) if p["status"].get("phase") not in _OVER]:
                self._finish(job, "Failed", *job["_failing"])
            return
        if any(pod["status"].get("phase") == "Succeeded" for pod in pods):
            status["completionTime"] = stamp(self.clock.now())
            self._finish(job, "Complete", "CompletionsReached", "Reached expected number")
        elif not pods:
            self._make_pod(job)

    def _finish(self, job: Object, kind: str, reason: str, message: str) -> None:
        self._condition(job, kind, True, reason, message)
        job["status"]["active"] = 0
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None:
            self.clock.after(ttl, lambda: self._too_old(job))

    def _too_old(self, job: Object) -> None:
        self.delete_job(job, "Background")
        self.work()

    def _make_pod(self, job: Object) -> None:
        there = [p for p in self.store.all("pods") if p["status"].get("phase") not in _OVER]
        if self.pod_quota is not None and len(there) >= self.pod_quota:
            name = job["metadata"]["name"]
            if not any(e["involvedObject"]["name"] == name for e in self.store.all("events")):
                self._event(
                    job, "FailedCreate", f'pods "{name}" is forbidden: exceeded quota: gpus'
                )
            self.clock.after(10, self.work)
            return
        template, meta = job["spec"]["template"], job["metadata"]
        name = f"{meta['name']}-{meta['uid'][:5]}"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {**template["metadata"]["labels"], "job-name": meta["name"]},
                "ownerReferences": [
                    {
                        "apiVersion": "batch/v1", "kind": "Job", "name": meta["name"],
                        "uid": meta["uid"], "controller": True, "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": template["spec"],
        }  # fmt: skip
        made = self.store.create("pods", meta["namespace"], pod)
        made["status"] = {"phase": "Pending"}
        self.pods.append(made)
        job["status"]["active"] = 1
        self.store.touched(job)

    def _event(self, thing: Object, reason: str, message: str) -> None:
        meta = thing["metadata"]
        self.store.create(
            "events",
            meta["namespace"],
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{meta['name']}-{len(self.store.all('events'))}"},
                "involvedObject": {"kind": "Job", "name": meta["name"]},
                "type": "Warning",
                "reason": reason,
                "message": message,
            },
        )

    def _pod(self, pod: Object) -> None:
        phase = pod["status"].get("phase")
        if phase == "Running":
            code = self.kubelet.exit_code(pod)
            if code is not None:
                self._close(pod, code, "Completed" if code == 0 else "Error")
                if "deletionTimestamp" in pod["metadata"]:
                    self._forget(pod)
        elif phase == "Pending" and not pod.get("_starting"):
            running = [p for p in self.store.all("pods") if p["status"].get("phase") == "Running"]
            starting = [p for p in self.store.all("pods") if p.get("_starting")]
            if len({p["metadata"]["uid"] for p in running + starting}) >= self.most_pods:
                words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
                if self._condition(pod, "PodScheduled", False, "Unschedulable", words):
                    self.clock.after(5, self.work)
                elif not pod.get("_again"):
                    pod["_again"] = True
                    self.clock.after(5, lambda: (pod.pop("_again", None), self.work()))
                return
            pod["_starting"] = True
            self._condition(pod, "PodScheduled", True, "", "")
            self.clock.after(self.start_s, lambda: self._start(pod))

    def _start(self, pod: Object) -> None:
        if pod["status"].get("phase") != "Pending" or not self._is_there(pod):
            return
        container = pod["spec"]["containers"][0]
        waiting = self._why_not(pod, container["image"])
        if waiting is not None:
            self._containers(pod, {"waiting": {"reason": waiting[0], "message": waiting[1]}})
            self.clock.after(5, lambda: self._start(pod))
            return
        now = stamp(self.clock.now())
        command = [*container.get("command", []), *container.get("args", [])]
        if container["image"] == BARE and command[0] == "python3":
            words = 'exec: "python3": executable file not found in $PATH: unknown'
            self._containers(
                pod,
                {
                    "terminated": {
                        "exitCode": 128, "reason": "StartError", "message": words,
                        "startedAt": "1970-01-01T00:00:00Z", "finishedAt": now,
                    }
                },
            )  # fmt: skip
            pod["status"]["phase"] = "Failed"
            pod.pop("_starting", None)
            self.work()
            return
        pod["status"]["phase"] = "Running"
        pod.pop("_starting", None)
        pod["_began"] = now
        self._containers(pod, {"running": {"startedAt": now}})
        env = {each["name"]: each["value"] for each in container.get("env") or []}
        self.kubelet.start(pod, command, env)
        limit_s = pod["spec"].get("activeDeadlineSeconds")
        if limit_s is not None:
            self.clock.after(limit_s, lambda: self._limit_over(pod))
        self._watch(pod)

    def _limit_over(self, pod: Object) -> None:
        """The node's own clock, whoever else is there."""
        if pod["status"].get("phase") == "Running":
            self.kubelet.ask_to_end(pod)
            pod["status"]["reason"] = "DeadlineExceeded"
            grace_s = pod["spec"].get("terminationGracePeriodSeconds", 30)
            self.clock.after(grace_s, lambda: self._grace_over(pod))

    def _watch(self, pod: Object) -> None:
        if pod["status"].get("phase") == "Running":
            self.work()
            self.clock.after(_POLL_S, lambda: self._watch(pod))

    def _why_not(self, pod: Object, image: str) -> tuple[str, str] | None:
        """What a container waits for."""
        pod["_secrets"] = {}
        for volume in pod["spec"].get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim is not None and claim not in self.volumes:
                return "ContainerCreating", f'persistentvolumeclaim "{claim}" not found'
            if secret := volume.get("secret"):
                there = [
                    s for s in self.store.all("secrets", pod["metadata"]["namespace"])
                    if s["metadata"]["name"] == secret["secretName"]
                ]  # fmt: skip
                if not there:
                    return "ContainerCreating", f'secret "{secret["secretName"]}" not found'
                pod["_secrets"] = there[0]["data"]
        if image not in self.images and image != BARE:
            return "ImagePullBackOff", f'Back-off pulling image "{image}": not found'
        return None

    def _close(self, pod: Object, code: int, reason: str) -> None:
        pod["_ended"] = stamp(self.clock.now())
        state = {"exitCode": code, "reason": reason, "finishedAt": pod["_ended"]}
        if code and pod["spec"]["containers"][0].get("terminationMessagePolicy"):
            state["message"] = self.kubelet.log(pod)[-2048:]
        self._containers(pod, {"terminated": {**state, "startedAt": pod.get("_began")}})
        pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        self.store.touched(pod)

    def _forget(self, pod: Object) -> None:
        """The pod's object goes; its Job remembers that one was lost."""
        self.store.remove("pods", pod)
        self.store._version += 1
        for owner in pod["metadata"].get("ownerReferences") or []:
            if not pod.get("_suspended"):
                self._lost.add(owner["uid"])
            job = self.history.get(owner["uid"])
            if job is not None and _has_condition(pod, "DisruptionTarget"):
                job["_taken"] = True

    def _collect_garbage(self) -> None:
        uids = self.store.uids()
        for resource in ("pods", "secrets"):
            for thing in self.store.all(resource):
                owners = thing["metadata"].get("ownerReferences") or []
                if owners and not any(owner["uid"] in uids for owner in owners):
                    if resource == "pods":
                        self.delete_pod(thing)
                    else:
                        self.store.remove(resource, thing)
                        self.store._version += 1
        for job in self.store.all("jobs"):
            if "foregroundDeletion" in job["metadata"].get("finalizers", []):
                for resource, thing in self.store.owned(job):
                    if resource != "pods":
                        self.store.remove(resource, thing)
                if not list(self.store.owned(job)):
                    self.store.remove("jobs", job)
                    self.store._version += 1

    def pods_of(self, job: Object) -> Iterator[Object]:
        yield from (thing for resource, thing in self.store.owned(job) if resource == "pods")

    def finished(self, job: Object) -> bool:
        return _has_condition(job, "Complete") or _has_condition(job, "Failed")

    def _is_there(self, pod: Object) -> bool:
        return any(each is pod for each in self.store.all("pods"))

    def _containers(self, pod: Object, state: Object) -> None:
        pod["status"]["containerStatuses"] = [{"name": "job", "state": state}]
        self.store.touched(pod)

    def _condition(self, thing: Object, kind: str, yes: bool, reason: str, message: str) -> bool:
        """Set it; False where it was so."""
        conditions = thing["status"].setdefault("conditions", [])
        found = next((each for each in conditions if each["type"] == kind), None)
        wanted = {"type": kind, "status": str(yes), "reason": reason, "message": message}
        if found is not None and found["status"] == str(yes):
            return False
        if found is not None:
            conditions.remove(found)
        conditions.append({**wanted, "lastTransitionTime": stamp(self.clock.now())})
        self.store.touched(thing)
        return True


def _has_condition(thing: Object, kind: str) -> bool:
    there = thing.get("status", {}).get("conditions") or []
    return any(each["type"] == kind and each["status"] == "True" for each in there)


def _kueue(job: Object) -> bool:
    return "kueue.x-k8s.io/queue-name" in (job["metadata"].get("labels") or {})


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def public(thing: Any) -> Any:
    """As it is shown: what the cluster keeps for itself begins with an underscore."""
    if isinstance(thing, dict):
        return {k: public(v) for k, v in thing.items() if not k.startswith("_")}
    return [public(each) for each in thing] if isinstance(thing, list) else thing
