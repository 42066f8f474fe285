"""`mlbroker export` of a service: the ceiling that its budget pays for, and what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import Result
from tests.support import engine_schemas as schemas
from tests.support.heard import Heard
from typer.testing import CliRunner

from mlbroker.broker.app.export_service import ServiceExportRequest, export_service
from mlbroker.broker.app.plan import Planned
from mlbroker.broker.cli import build_app
from mlbroker.broker.engines import EXPORTERS
from mlbroker.broker.errors import InputError, MlbrokerError, NothingFeasible
from mlbroker.broker.files.job_file import load_job

POLICY = "min_replicas: 1, max_replicas: 500, target_qps_per_replica: 10"
BUDGET = "{month: 8000 USD}"
PRICE = ("--price-per-hour-usd", "0.75")


@pytest.fixture(autouse=True)
def _state(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBROKER_HOME", str(home))


def job_file(folder: Path, policy: str = POLICY, budget: str | None = BUDGET) -> Path:
    path = folder / "service.yaml"
    asked = "" if budget is None else f"broker: {{service: {{budget: {budget}}}}}\n"
    path.write_text(
        "name: classify\nresources: {cpus: 2, use_spot: false, cloud: aws}\n"
        f"service: {{replica_policy: {{{policy}}}, ports: 8080}}\nrun: serve\n{asked}"
    )
    return path


def export(job: Path, *options: str, to: str = "skyserve") -> Result:
    return CliRunner().invoke(
        build_app(["export"]), ["export", str(job), "--to", to, *(options or PRICE)]
    )


def most_of(result: Result) -> int:
    assert result.exit_code == 0, result.exception
    return int(yaml.safe_load(result.stdout)["service"]["replica_policy"]["max_replicas"])


def error_of(result: Result, kind: type[MlbrokerError] = InputError) -> MlbrokerError:
    assert isinstance(result.exception, kind), result.output
    assert result.stdout == ""
    return result.exception


def test_the_most_is_what_a_month_of_31_days_pays_for(tmp_path: Path) -> None:
    # 8000 / (0.75 * 744) = 14.3
    result = export(job_file(tmp_path))
    assert most_of(result) == 14
    assert result.stdout.startswith("# From 1 to 14 replicas, by mlbroker export")
    assert "--spent-usd" in result.stderr
    assert most_of(export(job_file(tmp_path), *PRICE, "--budget", "558 USD")) == 1
    own = job_file(tmp_path, POLICY.replace("500", "9"))
    assert most_of(export(own)) == 9
    fixed = job_file(tmp_path, "min_replicas: 3, max_replicas: 3, target_qps_per_replica: 1")
    assert most_of(export(fixed)) == 3


@pytest.mark.parametrize("engine", EXPORTERS)
def test_a_probe_s_post_is_kept_or_said_to_be_left_out(engine: str, tmp_path: Path) -> None:
    probe = "{path: /v1, timeout_seconds: 5, post_data: {model: $M}, headers: {X-Key: a}}"
    path = job_file(tmp_path, POLICY + "}, readiness_probe: " + probe.removesuffix("}"))
    assert load_job(path).job.service is not None
    result = export(path, to=engine)
    assert result.exit_code == 0, result.exception
    said = "is a POST (post_data)" in " ".join(result.stderr.split())
    assert said == (engine != "skyserve")
    if engine == "skyserve":
        written = yaml.safe_load(result.stdout)
        jsonschema.validate(written, schemas.SKYSERVE)
        asked = written["service"]["readiness_probe"]
        assert asked == {
            "path": "/v1", "initial_delay_seconds": 1200, "timeout_seconds": 5,
            "post_data": '{"model": "$M"}', "headers": {"X-Key": "a"},
        }  # fmt: skip


def test_a_day_s_budget_holds_beside_the_month_s(tmp_path: Path) -> None:
    day = job_file(tmp_path, budget="{month: 8000 USD, day: 90 USD}")
    assert most_of(export(day)) == 5
    alone = job_file(tmp_path, budget="{day: 90 USD}")
    assert most_of(export(alone)) == 5
    assert "without a month's budget" in str(error_of(export(alone, *PRICE, "--spent-usd", "3")))


@pytest.mark.parametrize(
    ("moment", "spent_usd", "most"),
    [
        ("2026-11-30T00:00+00:00", 7000.0, 55),  # 1000 / (0.75 * 24)
        ("2026-11-01T00:00+00:00", 0.0, 14),  # 8000 / (0.75 * 720)
        ("2026-11-30T23:00+00:00", 7999.0, 1),
    ],
)
def test_what_is_left_of_this_month_is_for_the_rest_of_it(
    moment: str, spent_usd: float, most: int, tmp_path: Path
) -> None:
    path, heard = job_file(tmp_path), Heard()
    now_ms = round(datetime.fromisoformat(moment).astimezone(UTC).timestamp() * 1000)
    request = ServiceExportRequest(
        load_job(path).job, path, "skyserve", tmp_path, None, 0.75, None, spent_usd, now_ms
    )

    def no_plan() -> Planned:
        raise AssertionError("the price is told")

    exported = export_service(request, no_plan, tmp_path, heard)
    block = yaml.safe_load(exported.text)["service"]
    assert block["replica_policy"]["max_replicas"] == most
    assert "until this month ends" in exported.text
    assert any("export anew" in note for note in exported.notes)


def test_a_budget_below_the_fewest_names_the_least_that_would_do(tmp_path: Path) -> None:
    three = job_file(tmp_path, POLICY.replace("min_replicas: 1", "min_replicas: 3"))
    # 3 * 0.75 * 744
    found = error_of(export(three, *PRICE, "--budget", "1673.99"), NothingFeasible)
    assert "a cap of 1,674.00 USD is the least" in str(found)
    assert "with what is spent" not in str(found)
    assert most_of(export(three, *PRICE, "--budget", "1674")) == 3
    none = job_file(tmp_path, POLICY.replace("min_replicas: 1", "min_replicas: 0"))
    found = error_of(export(none, *PRICE, "--budget", "557"), NothingFeasible)
    assert "a cap of 558.00 USD is the least" in str(found)
    spent = error_of(export(none, *PRICE, "--spent-usd", "9000"), NothingFeasible)
    assert "with what is spent" in str(spent)


def test_without_a_price_the_plan_s_machine_is_written_with_it(tmp_path: Path) -> None:
    path = job_file(tmp_path)
    path.write_text(path.read_text() + "file_mounts: {/data: ./data}\n")
    result = export(path, "--region", "us-east-1")
    assert "Of your task file_mounts is not in the file" in result.stderr
    made = yaml.safe_load(result.stdout)
    assert made["resources"]["infra"] == "aws/us-east-1"
    assert made["resources"]["instance_type"] in result.stdout
    assert made["run"] == "serve"
    (path := tmp_path / "out.yaml").write_text(result.stdout)
    back = load_job(path, needs_folder=False).job
    assert back.replicas is not None
    assert back.replicas.most == most_of(result)


@pytest.mark.parametrize("engine", EXPORTERS)
def test_each_engine_s_file_is_written_where_it_is_told(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "made"
    result = export(job_file(tmp_path), *PRICE, "-o", str(path), to=engine)
    assert result.exit_code == 0, result.exception
    assert "From 1 to 14 replicas" in path.read_text()
    again = export(job_file(tmp_path), *PRICE, "-o", str(path), to=engine)
    assert "exists already" in str(again.exception)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--price-per-hour-usd", "0"), "above zero"),
        (("--price-per-hour-usd", "nan"), "above zero"),
        ((*PRICE, "--spent-usd", "-1"), "no amount of money"),
        ((*PRICE, "--spent-usd", "nan"), "no amount of money"),
        ((*PRICE, "--capacity-rps", "0"), "above zero"),
        ((*PRICE, "--budget", "much"), "--budget"),
        ((*PRICE, "--deadline", "3h"), "has no effect on a service"),
    ],
)
def test_bad_options_are_refused(options: tuple[str, ...], what: str, tmp_path: Path) -> None:
    assert what in str(error_of(export(job_file(tmp_path), *options)))


def test_what_is_not_said_is_asked_for(tmp_path: Path) -> None:
    budget = error_of(export(job_file(tmp_path, budget=None)))
    assert "give --budget" in str(budget)
    rate = error_of(export(job_file(tmp_path, "min_replicas: 1")))
    assert "--capacity-rps" in str(rate)
    nobody = job_file(tmp_path, "min_replicas: 0, max_replicas: 0, target_qps_per_replica: 1")
    assert "lets no replica run" in str(error_of(export(nobody)))


def test_a_job_is_no_service_and_a_service_no_job(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("run: train\n")
    assert "is no service" in str(error_of(export(job)))
    pool = tmp_path / "pool.yaml"
    pool.write_text("pool: {workers: 3}\nrun: train\n")
    assert "is no service" in str(error_of(export(pool)))
    other = error_of(export(job, *PRICE, to="slurm"))
    assert "has no effect on what is no service" in str(other)
    wrong = error_of(export(job_file(tmp_path), "--cloud", "aws", to="slurm"))
    assert "a service to skyserve, kserve" in str(wrong)
