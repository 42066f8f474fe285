"""`mlbroker profile JOB --try`, and what `advise` says once something is proven."""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.cli import mlbroker

from mlbroker.broker.evidence.tries import Kept, TryStore
from mlbroker.broker.files.job_file import load_job
from mlbroker.profiles.trying import Arm, Saving, Trial

JOB = f"""\
name: reviews
workdir: .
resources: {{cpus: 2+, memory: 4+}}
run: {sys.executable} train.py
broker: {{deadline: 30m, work: {{steps: 4000}}, runs_per_month: 100}}
"""
LOOP = "import time\nfor i in range(4000):\n    time.sleep(0.01)\n    print(f'::mlbroker step={i}')"
PROVEN = Arm(
    "trim,group=50", (0.4, 0.41, 0.4), Saving(0.6, 0.55), Saving(0.5, 0.45), "alike", None, "masks"
)
AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    (tmp_path / "train.py").write_text(LOOP)
    return path


def told(*args: str | Path, home: Path, schema: str) -> dict[str, Any]:
    done = mlbroker(*args, "--json", home=home)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    rules = json.loads(files("mlbroker.broker").joinpath(f"schemas/{schema}.json").read_text())
    jsonschema.validate(document, rules)
    return document


def keep(job: Path, home: Path, *arms: Arm) -> None:
    trial = Trial("local-2cpu", 60, (1.0, 1.02, 0.99), 32, arms)
    TryStore(home).keep(load_job(job).job, Kept(trial, AT))


def test_a_job_without_text_batches_is_told_so(job: Path, home: Path) -> None:
    found = told("profile", job, "--try", "trim", "--max-time", "2m", home=home, schema="try")
    assert found["proven"] is None
    (arm,) = found["tried"]
    assert (arm["status"], arm["of_step"]) == ("withdrawn", None)
    assert "nothing was there to cut" in arm["reason"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--try", "int8"), "'int8' is no remedy"),
        (("--try", "trim", "--auto"), "--auto"),
        (("--try", "trim", "--on", "box"), "--on"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    job: Path, home: Path, args: tuple[str, ...], words: str
) -> None:
    done = mlbroker("profile", job, *args, home=home)
    assert done.returncode == 2
    assert words in done.stderr


def test_advice_names_what_is_proven_until_the_job_is_another(job: Path, home: Path) -> None:
    takes = ("--takes", "1h@m5.large")
    assert told("advise", job, *takes, home=home, schema="advise")["proven"] is None
    keep(job, home, PROVEN)
    found = told("advise", job, *takes, home=home, schema="advise")
    proven = found["proven"]
    assert proven["nlp"] == {"trim": True, "group": 50}
    usd, cost = Decimal(proven["usd_per_run"]), Decimal(found["choice"]["cost_usd"]["compute"])
    # The lower bound alone, of the part of the machine's hours that are the command's.
    assert Decimal("0.2") * cost < usd <= Decimal("0.45") * cost
    assert Decimal(proven["usd_per_month"]) == 100 * usd
    said = mlbroker("advise", job, *takes, home=home).stdout
    assert "Proven on 2026-11-29: trim,group=50 saves at least 45% of the steps' time" in said
    assert "broker:\n  nlp: {trim: true, group: 50}\n" in said
    # With the block in the file it is the same job, and the block needs no telling.
    job.write_text(JOB.replace("broker: {", "broker: {nlp: {trim: true, group: 50}, "))
    said = mlbroker("advise", job, *takes, home=home).stdout
    assert "Proven on" in said
    assert "  nlp:" not in said
    (job.parent / "train.py").write_text(LOOP.replace("4000", "5000"))
    assert told("advise", job, *takes, home=home, schema="advise")["proven"] is None


def test_what_is_withdrawn_is_no_advice(job: Path, home: Path) -> None:
    keep(job, home, Arm("trim", (), None, None, None, "the model looks at padding"))
    assert told("advise", job, home=home, schema="advise")["proven"] is None


def test_a_damaged_record_is_none(job: Path, home: Path) -> None:
    keep(job, home, PROVEN)
    (record,) = (home / "tries").iterdir()
    for text in ("{", "{}", record.read_text().replace('"of_step"', '"of"')):
        record.write_text(text)
        assert TryStore(home).for_job(load_job(job).job) is None
