"""What Job and pods show, as a machine: by values alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cloud_runs import intent_on
from tests.support.kubernetes.store import _LABEL_VALUE, SCHEMA

from mlbroker.broker.clouds.interface import MachineState
from mlbroker.broker.clouds.kubernetes.machines import seen_of
from mlbroker.broker.clouds.kubernetes.manifests import job, label_value, limited, secret_of
from mlbroker.broker.clouds.kubernetes.places import Place
from mlbroker.broker.files.clusters import Cluster

NOW = "2026-11-29T12:00:00Z"


def a_job(*conditions: str, **more: Any) -> dict[str, Any]:
    told = [{"type": kind, "status": "True", "lastTransitionTime": NOW} for kind in conditions]
    meta = {"labels": {"mlbroker-run": "r"}, "creationTimestamp": NOW}
    return {"metadata": {**meta, **more}, "status": {"conditions": told}}


def a_pod(phase: str, state: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    status = {"phase": phase, "containerStatuses": [{"state": state}] if state else None}
    return {"metadata": {"creationTimestamp": NOW, **meta}, "status": status}


RUNNING = {"running": {"startedAt": NOW}}
ENDED = {"terminated": {"startedAt": NOW, "finishedAt": NOW, "exitCode": 0}}
GOING = {"deletionTimestamp": NOW}


@pytest.mark.parametrize(
    ("job_seen", "pods", "state"),
    [
        (a_job(), [], MachineState.PENDING),
        (a_job(), [a_pod("Pending")], MachineState.PENDING),
        (a_job(), [a_pod("Running", RUNNING)], MachineState.RUNNING),
        (a_job(), [a_pod("Running", RUNNING, **GOING)], MachineState.TERMINATING),
        (a_job("Complete"), [a_pod("Succeeded", ENDED)], MachineState.TERMINATED),
        (a_job("Failed"), [], MachineState.TERMINATED),
        # The Job may say so before its pods are gone, or be gone before them.
        (a_job("Failed"), [a_pod("Running", RUNNING)], MachineState.TERMINATING),
        (None, [a_pod("Running", RUNNING)], MachineState.TERMINATING),
        (None, [a_pod("Failed", ENDED)], MachineState.TERMINATED),
        # Its pod has ended, and the controller has not looked yet: it may make another.
        (a_job(), [a_pod("Succeeded", ENDED)], MachineState.RUNNING),
        (a_job(**GOING), [], MachineState.TERMINATING),
    ],
)
def test_terminated_is_only_what_can_run_no_more(
    job_seen: dict[str, Any] | None, pods: list[dict[str, Any]], state: MachineState
) -> None:
    seen = seen_of(job_seen, pods)
    assert seen is not None
    assert seen.state is state


def test_nothing_is_nothing() -> None:
    assert seen_of(None, []) is None


def test_a_container_that_never_started_has_no_start() -> None:
    failed = {
        "terminated": {
            "exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z",
            "message": 'exec: "python3": executable file not found in $PATH',
        }
    }  # fmt: skip
    seen = seen_of(a_job("Failed"), [a_pod("Failed", failed)])
    assert seen is not None
    assert seen.started_at is None
    assert "3.8 or later" in str(seen.failed)


def test_a_pod_that_may_not_write_is_told_what_to_do() -> None:
    words = "PermissionError: [Errno 13] Permission denied: '/mlbroker/shared/runs/t/0/began.part'"
    failed = {"terminated": {"exitCode": 1, "reason": "Error", "message": words}}
    seen = seen_of(a_job("Failed"), [a_pod("Failed", failed)])
    assert seen is not None
    assert "run_as_user" in str(seen.failed)


class World:
    class clock:
        @staticmethod
        def now() -> datetime:
            return datetime(2026, 11, 29, 12, tzinfo=UTC)


NAMES = st.text(max_size=80)


@settings(max_examples=25)
@given(name=NAMES, gpus=st.integers(0, 8), queue=st.booleans(), user=st.none() | st.just(1000))
def test_every_job_and_secret_is_valid_by_the_published_schema(
    name: str, gpus: int, queue: bool, user: int | None
) -> None:
    cluster = Cluster(
        "i", "claim", "/f", sub_path="a/b", queue="q" if queue else None, run_as_user=user,
        node_selector=(("pool", "gpu"),), service_account="sa", priority_class="high",
    )  # fmt: skip
    place = Place("lab", cluster, 7.5, 31.25, gpus, "x86_64")
    intent = intent_on(
        World, "20261129-120000-abcd1234", cloud="kubernetes", region="on-prem", zone=None,
        instance_type="lab", job=name,
    )  # fmt: skip
    made = limited(job(intent, place, f"runs/{intent.token}", "0" * 64, True), 60)
    kubernetes_validate.validate(made, SCHEMA, strict=True)
    pod = made["spec"]["template"]["spec"]
    assert "fsGroup" not in str(pod), "the cluster would change the owner of all the volume"
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "shared"]
    assert mount["subPath"] == f"a/b/runs/{intent.token}", "no other run's folder is to be seen"
    owner = {"metadata": {"uid": "u"}}
    kubernetes_validate.validate(secret_of(intent, {"A": name}, owner), SCHEMA, strict=True)
    for value in made["metadata"]["labels"].values():
        assert _LABEL_VALUE.fullmatch(value)
    later = intent_on(
        World, intent.run_id, cloud="kubernetes", region="on-prem", zone=None,
        instance_type="lab", job=name, kill_at=intent.kill_at + timedelta(seconds=1),
    )  # fmt: skip
    other = job(later, place, f"runs/{intent.token}", "0" * 64, True)
    assert (
        other["metadata"]["labels"]["mlbroker-hash"] != made["metadata"]["labels"]["mlbroker-hash"]
    )


@given(NAMES)
def test_any_words_are_a_labels_value(text: str) -> None:
    assert _LABEL_VALUE.fullmatch(label_value(text))
