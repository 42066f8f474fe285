"""The API server's noes, in our words; and answers that come late, in parts, or not at all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubernetes.server import TOKEN, StrictKubernetes

from mlbroker.broker.clouds.interface import Denied, NoCapacity, Unclear
from mlbroker.broker.clouds.kubernetes.access import Access, access_to
from mlbroker.broker.clouds.kubernetes.calls import Calls, Taken
from mlbroker.broker.files.clusters import Cluster

CLUSTER = Cluster(image="i", claim="c", folder="/f")


def job(name: str) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "no/such"}]}
    meta = {"name": name, "labels": {"which": name}}
    spec = {"suspend": True, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


@pytest.fixture
def calls(world: StrictKubernetes) -> Calls:
    return Calls(lambda: access_to(CLUSTER))


def test_made_read_listed_and_ended(calls: Calls, world: StrictKubernetes) -> None:
    for number in range(7):
        calls.create("jobs", job(f"j{number}"))
    assert len(calls.list("jobs")) == 7, "in pages of three"
    world.expire_lists = 2
    assert len(calls.list("jobs")) == 7, "from the beginning, when the thread was lost"
    assert calls.get("jobs", "j3") is not None
    assert calls.get("jobs", "none") is None
    with pytest.raises(Taken):
        calls.create("jobs", job("j3"))
    calls.delete("jobs", "j3", propagationPolicy="Foreground")
    calls.delete("jobs", "j3")
    assert calls.get("jobs", "j3") is None


def test_a_list_that_always_expires_is_unclear(calls: Calls, world: StrictKubernetes) -> None:
    for number in range(4):
        calls.create("jobs", job(f"j{number}"))
    world.expire_lists = 1000
    with pytest.raises(Unclear, match="changes faster"):
        calls.list("jobs")


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ((403, "Forbidden", "jobs.batch is forbidden: exceeded quota: t"), NoCapacity, "quota"),
        (
            (403, "Forbidden", "jobs.batch is forbidden: User x cannot"),
            Denied,
            "may not create jobs",
        ),
        ((403, "Forbidden", "admission webhook says no"), Denied, "admission webhook says no"),
        ((422, "Invalid", "spec.x: Invalid value"), Denied, r"\(422\): spec.x"),
        ((404, "NotFound", 'namespaces "ml" not found'), Denied, 'namespaces "ml" not found'),
        ((500, "InternalError", "etcd"), Unclear, "500"),
        ((401, "Unauthorized", ""), Denied, "does not know these credentials"),
    ],
)
def test_noes(
    answer: tuple[int, str, str],
    error: type[Exception],
    says: str,
    calls: Calls,
    world: StrictKubernetes,
) -> None:
    world.faults.errors["create jobs"] = answer
    with pytest.raises(error, match=says):
        calls.create("jobs", job("j"))


def test_a_read_is_tried_again_and_a_create_is_not(calls: Calls, world: StrictKubernetes) -> None:
    world.faults.throttled["list jobs"] = 2
    world.faults.failing["list jobs"] = 1
    world.faults.lost_before["list jobs"] = 1
    assert calls.list("jobs") == []
    world.faults.lost_after["create jobs"] = 1
    with pytest.raises(Unclear):
        calls.create("jobs", job("j"))
    assert [c for c in world.calls if c == "create jobs"] == ["create jobs"]
    assert calls.get("jobs", "j") is not None, "it had taken effect"


def test_a_token_that_ran_out_is_renewed_in_the_middle(world: StrictKubernetes) -> None:
    tokens = iter([TOKEN, "second"])

    def renewed() -> Access:
        return replace(access_to(CLUSTER), token=next(tokens))

    calls = Calls(renewed)
    assert calls.list("jobs") == []
    world.tokens = {"second": "ada"}
    assert calls.list("jobs") == []


def test_no_message_has_the_token(calls: Calls, world: StrictKubernetes, tmp_path: Path) -> None:
    world.tokens.clear()
    with pytest.raises(Denied) as refused:
        calls.list("jobs")
    assert TOKEN not in str(refused.value)
