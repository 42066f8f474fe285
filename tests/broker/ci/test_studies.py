"""What a change does to a study: what all trials are expected to cost, and the cap, the most."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.repositories import Repository, check

STUDY = """\
name: net
resources: {cpus: 4+}
run: python train.py
broker:
  budget: 2 USD
  work: {hours: 1, on: m5.xlarge}
  tune:
    metric: loss
    goal: minimize
    space: {LR: {log: [1e-4, 1]}}
    resource: {name: epoch, max: 27}
    trials: 20
"""
UNMEASURED = STUDY.replace("  work: {hours: 1, on: m5.xlarge}\n", "")
ENDLESS = STUDY.replace("    trials: 20\n", "")


def priced(text: str, repository: Repository, home: Path) -> dict[str, Any]:
    repository.write("net.job.yaml", text)
    done = check("--json", cwd=repository.root, home=home)
    assert done.code == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    return job


def test_all_trials_cost_what_their_rungs_do(repository: Repository, home: Path) -> None:
    job = priced(STUDY, repository, home)
    study, trial = job["head"]["study"], Decimal(job["head"]["cost_usd"]["expected"])
    # From one step 1/3 go on to 3, 1/9 to 9, 1/27 to 27; from three steps 1/3 to 9, 1/9 to 27.
    short, long = 1 + 2 / 3 + 6 / 9 + 18 / 27, 3 + 6 / 3 + 18 / 9
    assert study["whole_trials"] == pytest.approx((20 * (short + long) / 2 + 27) / 27)
    assert Decimal(study["expected_usd"]) == trial * Decimal(repr(study["whole_trials"]))
    assert job["head_cost_usd"] == study["expected_usd"]
    assert (study["trials"], study["cap_usd"]) == (20, "2")


def test_no_study_is_expected_to_cost_more_than_its_cap(repository: Repository, home: Path) -> None:
    cap = "0.1"
    job = priced(STUDY.replace("2 USD", f"{cap} USD"), repository, home)
    assert job["head_cost_usd"] == cap
    job = priced(ENDLESS, repository, home)
    assert (job["head_cost_usd"], job["head"]["study"]["whole_trials"]) == ("2", None)


def test_an_unmeasured_study_is_held_to_its_cap(repository: Repository, home: Path) -> None:
    job = priced(UNMEASURED, repository, home)
    assert (job["head_cost_usd"], job["head"]["study"]["cap_usd"]) == (None, "2")
    for most, judged in [("2", True), ("1.99", False)]:
        told = check("--max-cost", most, cwd=repository.root, home=home)
        assert ("could not be judged" in told.stdout) is not judged
        assert "at most 2.00" in told.stdout


def test_a_larger_study_is_a_dearer_job(repository: Repository, home: Path) -> None:
    repository.commit({"net.job.yaml": STUDY})
    repository.branch()
    repository.write("net.job.yaml", STUDY.replace("trials: 20", "trials: 40"))
    done = check("--base", "main", "--max-increase", "10%", cwd=repository.root, home=home)
    assert done.code == 5
    assert "USD a study), 10.0% are allowed" in done.stderr


def test_a_saved_check_keeps_a_study(repository: Repository, home: Path, tmp_path: Path) -> None:
    repository.commit({"net.job.yaml": STUDY})
    saved = tmp_path / "saved.json"
    options = ("--format", "json", "--output", saved)
    assert check(*options, cwd=repository.root, home=home).code == 0
    again = check("--compare-to", saved, "--json", cwd=repository.root, home=home)
    (job,) = json.loads(again.stdout)["jobs"]
    assert (job["status"], job["base"]["study"]) == ("unchanged", job["head"]["study"])
