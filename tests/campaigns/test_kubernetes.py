"""Kubernetes at random: whatever fails, whenever the client dies, no leak, never over the cap."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.campaign import figures, seeds, size, try_each
from tests.support.kubernetes.runs import KubernetesRuns
from tests.support.kubernetes.server import StrictKubernetes, kubeconfig, serving
from tests.support.loopback_http import Answer
from tests.support.mutations import HTML, hostile_answer
from tests.support.zygote import Zygote

from mlbroker.broker.clouds.kubernetes.cloud import KubernetesCloud
from mlbroker.broker.clouds.understood import understood
from mlbroker.broker.errors import MlbrokerError

CAP = "0.3"
WEEKS_S = 14 * 86400.0
STATUSES = (
    "200 OK", "202 Accepted", "204 No Content", "301 Moved Permanently", "400 Bad Request",
    "403 Forbidden", "404 Not Found", "409 Conflict", "410 Gone", "429 Too Many Requests",
    "500 Oops", "503 Service Unavailable",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictKubernetes]:
    with serving(frozen=True) as world, pytest.MonkeyPatch.context() as patch:
        path = kubeconfig(world, tmp_path_factory.mktemp("kubernetes"))
        patch.setenv("KUBECONFIG", str(path))
        yield world


@pytest.fixture
def world(server: StrictKubernetes, monkeypatch: pytest.MonkeyPatch) -> StrictKubernetes:
    server.calm()
    monkeypatch.setattr("mlbroker.broker.http.time.sleep", server.clock.advance)
    return server


@pytest.fixture(scope="module")
def zygote(server: StrictKubernetes) -> Iterator[Zygote]:
    zygote = Zygote("kubernetes", server.url, {"SSL_CERT_FILE": str(server.authority)})
    yield zygote
    zygote.close()


def fate(world: StrictKubernetes, chance: random.Random) -> None:
    """What the cluster is like this time."""
    world.guest.job_s = chance.choice([5, 60, 150, None])
    world.guest.code = chance.choice([0, 0, 3])
    world.cluster.start_s = chance.choice([0.5, 5, 60])
    world.cluster.deletes_stall = chance.choice([0, 0, 1])
    world.cluster.most_pods = chance.choice([9, 9, 9, 0])
    world.page = chance.choice([1, 3])
    if chance.random() < 0.2:
        world.clock.after(chance.random() * 90, lambda: take_one_away(world, chance.random()))


def take_one_away(world: StrictKubernetes, how: float) -> None:
    for pod in [p for p in world.cluster.store.all("pods") if p["status"]["phase"] == "Running"]:
        world.cluster.evict(pod) if how < 0.5 else world.cluster.lose_node(pod)


def test_random_faults_leak_nothing_and_launch_nothing_twice(
    world: StrictKubernetes, tmp_path: Path
) -> None:
    seeds = size(short=5, full=200)
    outcomes: dict[str, int] = {}
    with figures("kubernetes-random-faults") as kept:
        for seed in range(seeds):
            chance = random.Random(seed)
            world.calm()
            world.faults.random = random.Random(seed)
            world.faults.rate = chance.choice([0.02, 0.1, 0.25])
            fate(world, chance)
            name = f"r{seed}"
            runs = KubernetesRuns(tmp_path / name, world)
            runs.reserve(name, CAP)
            try:
                outcome = str(runs.driver(name, {}).drive(name).outcome)
            except MlbrokerError:
                outcome = "interrupted"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            world.faults.rate = 0.0
            runs.wind_up()
            runs.check(name, cap=CAP)
        kept.update(seeds=seeds, outcomes=outcomes, leaks=0, double_launches=0)


def test_a_client_killed_at_any_request_never_costs_more_than_the_cap(
    world: StrictKubernetes, zygote: Zygote, tmp_path: Path
) -> None:
    points = size(short=8, full=500)
    killed = 0
    with figures("kubernetes-killed-clients") as kept:
        for number in range(points):
            chance = random.Random(number)
            world.calm()
            fate(world, chance)
            name = f"r{number}"
            runs = KubernetesRuns(tmp_path / name, world)
            runs.reserve(name, CAP)
            world.doom.before = chance.random() < 0.5
            world.doom.left = 1 + int(chance.random() ** 2 * 60)
            killed += zygote.launch(tmp_path / name, name) == -9
            world.doom.left = None
            # At once, after a while, or so late that the cluster has forgotten the Job.
            world.clock.advance(chance.choice([0, 300, 3600, WEEKS_S]))
            assert runs.billed_usd(name) <= float(CAP)
            assert zygote.wind_up(tmp_path / name) == 0
            runs.check(name, cap=CAP)
        kept.update(points=points, killed=killed, over_cap=0, leaks=0)
    assert killed >= points // 2


def test_answers_that_cannot_be_understood(
    world: StrictKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies = Lies(world._answer)
    monkeypatch.setattr(world, "_answer", lies)
    outcomes: Counter[str] = Counter()

    def one(seed: int) -> None:
        chance = random.Random(seed)
        world.calm()
        name = f"v{seed}"
        home = tmp_path / name
        runs = KubernetesRuns(home, world, understood(KubernetesCloud(home), "kubernetes"))
        world.guest.job_s = chance.choice((20.0, 150.0, None))
        runs.reserve(name, CAP)
        lies.begin(chance)
        try:
            runs.driver(name, {}).drive(name)
        except MlbrokerError:
            outcomes["given up"] += 1
        finally:
            lies.rate = 0.0
        runs.wind_up()
        world.clock.advance(7200)
        runs.check(name, cap=CAP)
        settled = runs.ledger.run(name)
        assert settled is not None
        outcomes[str(settled.outcome)] += 1

    with figures("lying-kubernetes") as kept:
        count = try_each(seeds(3, 150), one)
        kept |= {"runs": count, "answers": lies.told, "outcomes": dict(outcomes)}
        kept |= {"wedged": 0, "over cap": 0, "leaks": 0}
    assert lies.told > 0


class Lies:
    """Stands between the API server and the client, and changes some of what is answered."""

    def __init__(self, honest: Callable[[Any], Answer]) -> None:
        self._honest = honest
        self._chance = random.Random(0)
        self.rate = 0.0
        self.told = 0

    def begin(self, chance: random.Random) -> None:
        self._chance = chance
        self.rate = chance.choice((0.02, 0.1, 0.3))

    def __call__(self, request: Any) -> Answer:
        answer = self._honest(request)
        if self._chance.random() >= self.rate:
            return answer
        self.told += 1
        if self._chance.random() < 0.7:
            return Answer(answer.status, answer.headers, hostile_answer(self._chance, answer.body))
        body = self._chance.choice((answer.body, HTML, b""))
        return Answer(self._chance.choice(STATUSES), answer.headers, body)
