"""What waits in the cluster, in virtual time: said with its reason, for so long, for nothing."""

from pathlib import Path

import pytest
from tests.support.kubernetes.runs import KubernetesRuns
from tests.support.kubernetes.server import StrictKubernetes

from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.view import View


class Heard(View):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


def launched(runs: KubernetesRuns, cap: str = "8") -> tuple[Run, list[str]]:
    runs.reserve("r1", cap)
    heard = Heard()
    folder = RunFolder.of(runs.home, "r1")
    driver = Driver(runs.ledger, runs.opened, runs.clock, folder, heard, {})
    return driver.drive("r1"), heard.said


def test_no_room_is_said_and_waiting_costs_nothing(world: StrictKubernetes, tmp_path: Path) -> None:
    runs = KubernetesRuns(tmp_path, world)
    world.guest.job_s = 100
    world.cluster.most_pods = 0
    world.clock.after(120, lambda: setattr(world.cluster, "most_pods", 1))
    run, said = launched(runs)
    assert run.outcome == "succeeded"
    assert (
        "waiting in the queue of Kubernetes: no node takes it: 0/3 nodes are available" in said[0]
    )
    assert len(said) == 1, "once"
    assert float(run.spent_usd) == pytest.approx(0.105, abs=0.01)
    runs.check("r1", cap="8")


@pytest.mark.parametrize(
    ("more", "how", "says", "minutes"),
    [
        ("      max_wait: 3m\n", {}, "nodes are available", 3),
        ("", {"image": "no/such:1"}, "ImagePullBackOff", 5),
    ],
)
def test_it_is_not_waited_for_for_ever(
    more: str,
    how: dict[str, str],
    says: str,
    minutes: int,
    world: StrictKubernetes,
    tmp_path: Path,
) -> None:
    runs = KubernetesRuns(tmp_path, world)
    runs.describe(more, **how)
    world.cluster.most_pods = 1 if how else 0
    began = world.clock.now()
    run, _ = launched(runs)
    assert run.outcome == "not_launched"
    assert says in str(run.detail)
    assert run.spent_usd == 0
    assert (world.clock.now() - began).total_seconds() == pytest.approx(minutes * 60, abs=60)
    runs.check("r1", cap="8")


def test_pods_beyond_a_quota_wait_and_the_controllers_words_are_shown(
    world: StrictKubernetes, tmp_path: Path
) -> None:
    runs = KubernetesRuns(tmp_path, world)
    world.cluster.pod_quota = 0
    world.clock.after(60, lambda: setattr(world.cluster, "pod_quota", 1))
    world.guest.job_s = 10
    run, said = launched(runs)
    assert run.outcome == "succeeded"
    assert "exceeded quota: gpus" in said[0]


def test_jobs_beyond_a_quota_are_a_no(world: StrictKubernetes, tmp_path: Path) -> None:
    runs = KubernetesRuns(tmp_path, world)
    world.job_quota = 0
    run, _ = launched(runs)
    assert (run.outcome, run.attempt.why) == ("not_launched", "no_capacity")
    assert "exceeded quota: team" in str(run.detail)
    assert run.spent_usd == 0


def test_kueue_holds_it_takes_it_away_and_the_run_goes_on(
    world: StrictKubernetes, tmp_path: Path
) -> None:
    runs = KubernetesRuns(tmp_path, world)
    runs.describe("      queue: team-a\n")
    world.cluster.kueue_admits = False
    world.guest.job_s = 100
    world.clock.after(60, lambda: setattr(world.cluster, "kueue_admits", True))
    world.clock.after(60, world.cluster.work)

    def preempt() -> None:
        world.cluster.kueue_admits = False
        (job,) = world.cluster.store.all("jobs")
        job["spec"]["suspend"] = True
        world.cluster.work()

    world.clock.after(120, preempt)
    world.clock.after(180, lambda: setattr(world.cluster, "kueue_admits", True))
    world.clock.after(185, world.cluster.work)
    run, said = launched(runs)
    assert run.outcome == "succeeded"
    assert [attempt.why for attempt in run.attempts] == ["preempted", "finished"]
    assert "it waits in Kueue's queue team-a" in said[0]
    runs.check("r1", cap="8")


def test_the_cluster_ends_it_when_nobody_else_does(world: StrictKubernetes, tmp_path: Path) -> None:
    runs = KubernetesRuns(tmp_path, world)
    world.guest.job_s = None
    run, _ = launched(runs, cap="0.3")
    assert run.outcome == "capped"
    (job,) = world.cluster.history.values()
    reasons = {c["type"]: c["reason"] for c in job["status"]["conditions"]}
    assert reasons["Failed"] == "DeadlineExceeded"
    runs.check("r1", cap="0.3")


def test_the_pods_own_limit_holds_when_its_job_was_removed(
    world: StrictKubernetes, tmp_path: Path
) -> None:
    runs = KubernetesRuns(tmp_path, world)
    world.guest.job_s = None

    def remove() -> None:
        (job,) = world.cluster.store.all("jobs")
        world.cluster.delete_job(job, "Orphan")

    world.clock.after(20, remove)
    run, _ = launched(runs, cap="0.3")
    assert run.outcome == "capped"
    runs.check("r1", cap="0.3")


def test_a_node_that_is_lost_is_no_end_of_the_run(world: StrictKubernetes, tmp_path: Path) -> None:
    runs = KubernetesRuns(tmp_path, world)
    world.guest.job_s = 100

    def lose() -> None:
        (pod,) = world.cluster.store.all("pods")
        world.cluster.lose_node(pod)

    world.clock.after(50, lose)
    run, _ = launched(runs)
    assert run.outcome == "succeeded"
    assert [attempt.why for attempt in run.attempts] == ["preempted", "finished"]
    runs.check("r1", cap="8")
