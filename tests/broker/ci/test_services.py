"""What a change does to services and pools, which never end: they are told by the month."""

import json
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.repositories import Repository, check, job_text

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/check.json").read_text("utf-8"))


def service_text(most: int, name: str = "llm") -> str:
    return (
        f"name: {name}\nresources: {{cpus: 4+}}\nrun: serve\n"
        f"service: {{replica_policy: {{min_replicas: 1, max_replicas: {most}}}}}\n"
    )


def document(repository: Repository, home: Path, *arguments: str) -> dict[str, Any]:
    done = check(*arguments, "--json", cwd=repository.root, home=home)
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.fixture
def scaled(repository: Repository) -> Repository:
    """A branch that doubles the most replicas of a service."""
    repository.commit({"llm.yaml": service_text(2)})
    repository.branch()
    repository.write("llm.yaml", service_text(4))
    return repository


def test_a_service_is_told_by_the_month_and_not_as_unmeasured(
    scaled: Repository, home: Path
) -> None:
    found = document(scaled, home, "--base", "main")
    (job,) = found["jobs"]
    assert (job["base_cost_usd"], job["head_cost_usd"]) == (None, None)
    replicas = job["head"]["replicas"]
    assert (replicas["kind"], replicas["least"], replicas["most"]) == ("service", 1, 4)
    each = Decimal(job["head"]["hourly_usd"])
    assert Decimal(replicas["hourly_usd"]["most"]) == 4 * each
    assert Decimal(replicas["monthly_usd"]["least"]) == 730 * each
    assert (
        Decimal(job["head_monthly_usd"]) == 4 * 730 * each == 2 * Decimal(job["base_monthly_usd"])
    )
    assert found["total"]["head_monthly_usd"] == job["head_monthly_usd"]
    shown = check("--base", "main", cwd=scaled.root, home=home).stdout
    assert "1 service, without an end" in shown
    assert "+100.0%" in shown
    assert "measure" not in shown


def test_its_limits_are_of_the_month_with_the_most_replicas(scaled: Repository, home: Path) -> None:
    (job,) = document(scaled, home, "--base", "main")["jobs"]
    least = Decimal(job["head"]["replicas"]["monthly_usd"]["least"])
    for option, value, code in (
        ("--max-increase", "90%", 5), ("--max-increase", "110%", 0), ("--max-cost", "0.01", 0),
        ("--max-monthly", f"{3 * least:.2f}", 5), ("--max-monthly", f"{5 * least:.2f}", 0),
    ):  # fmt: skip
        done = check("--base", "main", option, value, cwd=scaled.root, home=home)
        assert done.code == code, (option, value, done.stderr)
    for kind in ("markdown", "junit", "sarif"):
        told = check("--base", "main", "--format", kind, cwd=scaled.root, home=home).stdout
        assert "USD a run" not in told


def test_a_saved_check_keeps_the_replicas(scaled: Repository, home: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    assert check("--json", "--output", str(saved), cwd=scaled.root, home=home).code == 0
    (same,) = document(scaled, home, "--compare-to", str(saved))["jobs"]
    assert same["status"] == "unchanged"
    assert same["base_monthly_usd"] == same["head_monthly_usd"]


def test_a_job_that_became_a_service_has_no_increase(repository: Repository, home: Path) -> None:
    repository.commit({"a.yaml": job_text("a"), "b.yaml": job_text("b")})
    repository.branch()
    repository.write("a.yaml", service_text(4, "a"))
    repository.write("b.yaml", job_text("b", 40_000))
    done = check("--base", "main", "--max-increase", "500%", cwd=repository.root, home=home)
    assert done.code == 0, done.stderr
    assert "One run of each touched job changes from" in done.stdout
    assert "with the most replicas of each service" in done.stdout


def test_a_budget_below_the_fewest_replicas_is_not_feasible(
    repository: Repository, home: Path
) -> None:
    """As `mlbroker plan` says, and the figures are told all the same."""
    text = service_text(4)
    repository.write("llm.yaml", f"{text}broker: {{service: {{budget: {{month: 1 USD}}}}}}\n")
    for kind in ("table", "markdown", "junit", "sarif", "json"):
        done = check("--format", kind, cwd=repository.root, home=home)
        assert done.code == 4, done.stderr
        assert "nothing feasible for 1 job" in done.stderr
        assert "is less than the fewest replicas (1) cost" in done.stdout
    (job,) = json.loads(done.stdout)["jobs"]
    least = Decimal(job["head"]["replicas"]["monthly_usd"]["least"])
    assert least > 1
    paid = f"{text}broker: {{service: {{budget: {{month: {least + 1:.0f} USD}}}}}}\n"
    repository.write("llm.yaml", paid)
    assert check(cwd=repository.root, home=home).code == 0
