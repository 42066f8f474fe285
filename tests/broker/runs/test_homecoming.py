"""What rented machines leave comes home out of the cap, or stays where it is: never beside it."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore
from tests.support.leaving import LeavingCloud
from tests.support.sim_runs import CANDIDATES, SimRuns
from tests.support.simulator import billed_usd

from mlbroker.broker.clouds.bucket import BucketBox
from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.outputs import what_came
from mlbroker.broker.runs.view import View
from mlbroker.pricing.homeward import Homeward

# A dollar a megabyte, of which the first comes for the bill.
WAY = Homeward(Decimal(1000))
MB = 10**6


class Heard(View):
    """Keeps what was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        if "at this pace" not in text:
            self.warnings.append(text)


def runs_of(home: Path, checkpoint: int, outputs: int, way: Homeward = WAY) -> SimRuns:
    one = replace(CANDIDATES[0], market="on_demand", home=way)
    runs = SimRuns(home, candidates=(one,))
    runs.cloud = LeavingCloud(runs.service, checkpoint, outputs)
    return runs


def driven(runs: SimRuns, cap: str = "10") -> tuple[Run, list[str]]:
    runs.reserve(cap=cap)
    view = Heard()
    return runs.driver(secrets={}, view=view).drive("r1"), view.warnings


def egress_usd(runs: SimRuns) -> Decimal:
    """By the vendor's meter, which does not know of the first megabyte."""
    return WAY.usd_per_gb * max(0, runs.cloud.sent - MB) / 10**9


def test_what_the_allowance_pays_comes_at_once_and_the_rest_when_the_machine_is_gone(
    tmp_path: Path,
) -> None:
    runs = runs_of(tmp_path, MB + 100_000, 2 * MB)
    run, warnings = driven(runs)
    assert warnings == []
    assert run.outcome == "succeeded"
    runs.check()
    kinds = [fact.kind for fact in runs.ledger.facts("r1")]
    assert kinds.count("noted") == 2
    collected = kinds.index("collected")
    assert "noted" in kinds[:collected]
    assert "noted" in kinds[collected:]
    folder = RunFolder.of(tmp_path, "r1")
    assert (folder.outputs / "model.bin").stat().st_size == 2 * MB
    assert folder.checkpoint.stat().st_size == MB + 100_000
    assert run.attempt.missing == ()
    assert run.spent_usd == run.attempt.charged_usd
    machine_usd = billed_usd(runs.service, "r1")
    assert machine_usd + egress_usd(runs) <= run.spent_usd <= 10
    assert run.attempt.home_usd == pytest.approx(egress_usd(runs), abs=Decimal("0.00001"))
    assert runs.cloud.kept() == set()


def test_a_run_that_used_its_cap_up_leaves_in_the_bucket_what_nothing_pays_for(
    tmp_path: Path,
) -> None:
    runs = runs_of(tmp_path, 900_000, 3 * MB)
    with runs.service.world() as world:
        world.job_s = 10**6
    run, warnings = driven(runs)
    assert run.outcome == "capped"
    runs.check()
    folder = RunFolder.of(tmp_path, "r1")
    assert folder.checkpoint.exists()
    assert run.attempt.missing == ("outputs.1.tar",)
    assert len(runs.cloud.kept()) > 1
    [said] = warnings
    assert "outputs.1.tar (3.0 MB) stays in bucket b, runs/mlb-r1-1/0/outputs.tar for 30 d" in said
    assert "data: {output_gb, checkpoint_gb}" in said
    assert any("runs/mlb-r1-1/0/outputs.tar" in line for line in what_came(run, folder))
    assert billed_usd(runs.service, "r1") + egress_usd(runs) <= 10


def test_what_was_declared_is_in_the_bill_and_comes_whatever_is_left(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, 900_000, 3 * MB, WAY._replace(declared_gb=Decimal("0.005")))
    with runs.service.world() as world:
        world.job_s = 10**6
    run, warnings = driven(runs)
    assert (run.outcome, run.attempt.missing, warnings) == ("capped", (), [])
    assert run.attempt.home_usd == 0
    assert runs.cloud.kept() == set()


def test_whatever_goes_wrong_with_the_rest_the_machine_is_paid_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[str]:
        raise RuntimeError("odd")

    monkeypatch.setattr("mlbroker.broker.runs.watch.Watcher.bring", broken)
    runs = runs_of(tmp_path, 900_000, 3 * MB)
    run, warnings = driven(runs)
    assert warnings == ["collecting failed: RuntimeError: odd"]
    assert (run.outcome, set(run.attempt.stays)) == ("succeeded", {"outputs.1.tar"})
    assert len(runs.cloud.kept()) > 1
    runs.check()


def test_a_file_that_grows_on_its_way_is_not_taken(tmp_path: Path) -> None:
    store = MemoryStore()
    box = BucketBox(store, "bucket b", "runs/t")
    store.put("runs/t/0/checkpoint.tar", bytes(2000))
    assert box.left("checkpoint.tar", 0) == (2000, "bucket b, runs/t/0/checkpoint.tar")
    assert box.left("outputs.tar", 0) is None
    store.put("runs/t/0/checkpoint.tar", bytes(2001))
    with pytest.raises(Denied, match="longer than the 2,000 bytes"):
        box.fetch("checkpoint.tar", tmp_path / "c", 0, 2000)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(
    checkpoint=st.integers(0, 3 * MB),
    outputs=st.integers(0, 3 * MB),
    job_s=st.sampled_from([5, 300, 900, 960, 985, 10**6]),
    cap=st.sampled_from(["1", "10"]),
    deaths=st.lists(st.integers(0, 3), max_size=3),
)
def test_machine_and_way_home_stay_under_the_cap_whoever_dies(
    checkpoint: int, outputs: int, job_s: int, cap: str, deaths: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        runs = runs_of(Path(folder), checkpoint, outputs)
        with runs.service.world() as world:
            world.job_s = float(job_s)
        runs.reserve(cap=cap)
        run = None
        for copies in [*deaths, None]:
            runs.cloud.dies_after = copies
            try:
                run = runs.driver(secrets={}).drive("r1")
                break
            except KeyboardInterrupt:
                continue
        assert run is not None
        runs.check(cap)
        billed = billed_usd(runs.service, "r1") + egress_usd(runs)
        assert billed <= run.spent_usd + Decimal("0.00001") <= Decimal(cap) + Decimal("0.00001")
        home, kept = RunFolder.of(Path(folder), "r1"), " ".join(runs.cloud.kept())
        assert home.checkpoint.exists() or not checkpoint or "checkpoint" in kept, "lost"
        came = (home.outputs / "model.bin").exists()
        assert came or not outputs or "outputs" in kept, "lost"
