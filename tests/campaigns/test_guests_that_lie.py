"""Guests that lie: whatever a job says or leaves behind, its run settles and nothing else is hurt.

A failure names its input: CAMPAIGN_SEED=n and `-k` with the test's name do it again.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any

from tests.support.campaign import figures, seeds, try_each
from tests.support.hostile_archives import Surroundings, unsafe
from tests.support.hostile_boxes import HostileBoxes, LyingNodes, own_machines
from tests.support.hostile_guests import LyingCloud
from tests.support.sim_runs import CANDIDATES, SimRuns

from mlbroker.broker.app.ledger import facts
from mlbroker.broker.cli.run_view import PlainView, progress_line
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger import Run
from mlbroker.broker.output import clean
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.summary import live_summary, run_summary
from mlbroker.broker.runs.view import Progress


class Shown(PlainView):
    """Everything is put into words, as on a terminal, at every look."""

    def output(self, data: bytes) -> None:
        """The log goes to whoever wants to see it, as it is."""

    def progress(self, run: Run, progress: Progress) -> None:
        clean(progress_line(progress)).encode()

    def _say(self, text: str, style: str) -> None:
        clean(text).encode()


OpenCloud = Callable[[SimRuns, Surroundings, Random], Any]


def run_among_liars(
    top: Path, chance: Random, candidates: tuple[LaunchOption, ...], open_cloud: OpenCloud
) -> str:
    """A run carried by its client for some steps, then by `reconcile`; its outcome.

    It settles, within its cap, with nothing left running; nothing is written outside its folder.
    """
    around = Surroundings.made(top)
    runs = SimRuns(top / "home", candidates=candidates)
    with runs.service.world() as world:
        world.job_s = chance.choice([5.0, 60.0, 1e6])
    cloud = runs.cloud = open_cloud(runs, around, chance)
    folder = RunFolder.of(runs.home, "r1")
    # The boxes are the guests' own.
    apart = {folder.path, runs.home / "machines", runs.home / "ssh"}
    runs.reserve(nodes=chance.choice((1, 1, 1, 3)) if isinstance(cloud, LyingCloud) else 1)
    before = around.seen(apart)
    try:
        driver = runs.driver(secrets={}, view=Shown())
        for _ in range(chance.choice((5, 1000))):
            run = driver.advance("r1")
            if run.settled:
                break
            if chance.random() < 0.1:
                row = live_summary(run, runs.opened, runs.home, runs.service.now())
                json.dumps(row, allow_nan=False)
    except MlbrokerError:
        pass  # said in words; what is left is for `reconcile`
    runs.wind_up()
    runs.check()
    settled = runs.ledger.run("r1")
    assert settled is not None
    json.dumps([run_summary(settled), facts(runs.home, None)], allow_nan=False)
    if isinstance(cloud, HostileBoxes):
        assert cloud.alive() == []
    assert around.seen(apart) == before, "written outside the run's folder"
    for rank in range(3):
        assert unsafe(folder.of_rank(rank).outputs) == []
    _remove(top)
    return settled.outcome or ""


def campaign(
    name: str, folder: Path, short: int, full: int, candidates: tuple[LaunchOption, ...],
    open_cloud: OpenCloud,
) -> None:  # fmt: skip
    outcomes: Counter[str] = Counter()

    def one(seed: int) -> None:
        outcomes[run_among_liars(folder / str(seed), Random(seed), candidates, open_cloud)] += 1

    with figures(name) as kept:
        count = try_each(seeds(short, full), one)
        kept |= {"runs": count, "outcomes": dict(outcomes)}
        kept |= {"writes outside": 0, "wedged": 0, "over cap": 0, "machines left": 0}


def test_runs_whose_guests_lie_in_the_bucket(tmp_path: Path) -> None:
    """Reports, end records, logs, archives, names and sizes of what lies there."""
    campaign(
        "lying-guests", tmp_path, 40, 6000, CANDIDATES,
        lambda runs, around, chance: LyingCloud(runs.service, around, chance),
    )  # fmt: skip


def test_runs_whose_boxes_hold_anything(tmp_path: Path) -> None:
    """On this machine the job may leave any kind of file in its keeper's place."""
    campaign(
        "lying-boxes", tmp_path, 15, 2000, own_machines("local"),
        lambda runs, around, chance: HostileBoxes(runs.home, runs.service, around, chance),
    )  # fmt: skip


def test_runs_on_nodes_that_answer_anything(tmp_path: Path) -> None:
    """Over SSH a job may put its own program in the guest program's place."""
    campaign(
        "lying-nodes", tmp_path, 25, 2000, own_machines("ssh"),
        lambda runs, around, chance: LyingNodes(runs.home, around, chance),
    )  # fmt: skip


def _remove(top: Path) -> None:
    """With folders that an archive may have shut."""
    for path, folders, _ in os.walk(top):
        for name in folders:
            inner = Path(path) / name
            if not inner.is_symlink():
                inner.chmod(0o700)
    rmtree(top)
