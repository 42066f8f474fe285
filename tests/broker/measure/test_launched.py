"""Measuring on launched machines: the same seam, the same caps, the same ledger as a run."""

import sys
import tarfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mlbroker.broker.errors import InputError, MlbrokerError, RefusedError
from mlbroker.broker.ledger import Attempt, Run, State, open_ledger
from mlbroker.broker.measure import profile
from mlbroker.broker.measure.carried import Payer
from mlbroker.broker.measure.document import measurement_document
from mlbroker.broker.measure.launched import Campaign
from mlbroker.broker.measure.profile import Profiled
from mlbroker.broker.measure.run_link import FOLDER, machines_failed, pack
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter
from mlbroker.profiles.job import Job, ProfileLimits
from mlbroker.profiles.measurement import Status
from mlbroker.profiles.stepping.stopping import StopRule

STEPS = (
    "import time\nfrom mlbroker_probe import steps\nfor i in steps(range(1000)): time.sleep(0.005)"
)
Result = list[Profiled | MlbrokerError]


def machine(name: str, price: str = "0.10") -> LaunchOption:
    return LaunchOption("local", "on-prem", name, "on_demand", Bill(Decimal(price), 1, Meter()))


@pytest.fixture(autouse=True)
def without_memory_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "BANDWIDTH_S", 0.0)


def measure(
    tmp_path: Path, command: str, *machines: LaunchOption, usd: str = "0.01", cap_s: float = 30
) -> Result:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    limits = ProfileLimits(Decimal(usd), cap_s)
    job = Job("test", command, workdir=str(work), profile=limits)
    places = [[m] for m in machines]
    return Campaign(Payer(job, tmp_path / "home", "u", None), StopRule()).measure(places)


def python(code: str) -> str:
    return f"{sys.executable} - <<'END'\n{code}\nEND"


def test_a_node_is_measured_by_a_run_that_is_settled(tmp_path: Path) -> None:
    [done] = measure(tmp_path, python(STEPS), machine("desk"))
    assert isinstance(done, Profiled)
    found = done.measurement
    assert (found.status, found.instance_type, found.steps) == (Status.OK, "desk", 1000)
    assert found.price_per_hour_usd == Decimal("0.10")
    # Lines have the time at which they were read: the interval allows for one that was read late.
    assert measurement_document(found)["step_time_s"]["p90"] >= 0.005
    assert found.time_s < 0.2
    [run] = open_ledger(tmp_path / "home").runs()
    assert run.settled
    assert run.job == "test-profile"
    assert 0 < run.spent_usd <= Decimal("0.01")


def test_several_machines_are_measured_at_once_and_share_the_cap(tmp_path: Path) -> None:
    results = measure(tmp_path, python(STEPS), machine("a"), machine("b", "0.20"))
    rows = [r.measurement for r in results if isinstance(r, Profiled)]
    assert [row.config for row in rows] == ["a", "b"]
    runs = open_ledger(tmp_path / "home").runs()
    assert all(run.settled for run in runs)
    assert all(run.cap_usd == Decimal("0.005") for run in runs)


def test_a_cap_that_pays_for_nothing_launches_nothing(tmp_path: Path) -> None:
    [refused] = measure(tmp_path, python(STEPS), machine("dear", "5000"), usd="0.01")
    assert isinstance(refused, RefusedError)
    assert open_ledger(tmp_path / "home").runs() == []


def test_the_money_cap_ends_a_measurement_that_has_not_seen_enough(tmp_path: Path) -> None:
    # 2.4 USD an hour and 0.01 USD: fifteen seconds, kill slack included.
    slow = STEPS.replace("0.005", "0.1")
    [done] = measure(tmp_path, python(slow), machine("dear", "2.4"), usd="0.01")
    assert isinstance(done, Profiled)
    assert 0.09 <= done.measurement.time_s < 1
    [run] = open_ledger(tmp_path / "home").runs()
    assert run.spent_usd <= Decimal("0.01")


def test_a_machine_that_is_lost_is_marked(tmp_path: Path) -> None:
    [done] = measure(tmp_path, "kill -9 $PPID; sleep 30", machine("desk"))
    assert isinstance(done, Profiled)
    assert done.measurement.status is Status.FAILED
    assert open_ledger(tmp_path / "home").runs()[0].settled


@pytest.mark.parametrize(
    ("whys", "outcome", "failed"),
    [
        (["preempted", "lost", "abandoned"], "abandoned", True),
        (["no_capacity", "no_capacity", "lost"], "lost", True),
        (["no_capacity", "no_capacity"], "not_launched", False),
        (["preempted", "no_capacity"], "not_finished", False),
        (["capped"], "capped", False),
    ],
)
def test_machines_failed_when_they_died_not_when_there_were_none(
    whys: list[str], outcome: str, failed: bool
) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    none = {"no_capacity", "abandoned"}
    attempts = tuple(
        Attempt(
            number, f"t{number}", "aws", "r", None, "large", "spot", 1, Decimal(1), now, now,
            Decimal(1), machine_id=None if why in none else f"m{number}", why=why,
        )
        for number, why in enumerate(whys, 1)
    )  # fmt: skip
    run = Run(
        "r", "j", "u", None, State.SETTLED, Decimal(1), Decimal(0), now, {}, attempts,
        outcome=outcome,
    )  # fmt: skip
    assert machines_failed(run) is failed


def test_the_bundle_is_what_a_run_would_send_and_the_probe_beside_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "data" / "big").write_text("ignored")
    (work / "train.py").write_text("x")
    (work / ".gitignore").write_text("data/\n")
    target = tmp_path / "bundle.tar.gz"
    pack(work, {"command": "true"}, target, {})
    with tarfile.open(target) as tar:
        names = set(tar.getnames())
        spec = tar.extractfile(f"{FOLDER}/spec.json")
        assert spec is not None
        assert spec.read() == b'{"command": "true"}\n'
    assert {"train.py", ".gitignore", f"{FOLDER}/mlbroker_agent/agent.py"} <= names
    assert not any(name.startswith("data") for name in names)
    (work / "token").write_text("hunter2-hunter2")
    with pytest.raises(InputError, match="secret"):
        pack(work, {}, target, {"TOKEN": "hunter2-hunter2"})
