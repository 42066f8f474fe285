"""The services behind the commands: values in, values out, nobody at a terminal."""

import json
from dataclasses import replace
from decimal import Decimal
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.heard import Heard
from tests.support.indexed import indexed

from mlbroker.broker.app import check as checks
from mlbroker.broker.app import ledger as ledger_reports
from mlbroker.broker.app import prices as price_reports
from mlbroker.broker.app import profile as profiles
from mlbroker.broker.app import run as runs
from mlbroker.broker.app.ledger import RunFilter
from mlbroker.broker.app.plan import PlanQuery, plan
from mlbroker.broker.app.profile import ProfileRequest
from mlbroker.broker.app.run import RunRequest
from mlbroker.broker.app.sources import Sources, evidence_of, job_of
from mlbroker.broker.ci.check import Thresholds
from mlbroker.broker.ci.session import CheckRequest
from mlbroker.broker.errors import InputError, NothingFeasible, RefusedError, ThresholdCrossed
from mlbroker.broker.evidence import facts as evidence_facts
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.nodes import ENVIRONMENT
from mlbroker.broker.plan_document import plan_document
from mlbroker.broker.plan_words import expected_words, nothing_chosen
from mlbroker.broker.words import money
from mlbroker.policies.candidates import Filters
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Basis
from mlbroker.profiles.service import Measured
from mlbroker.profiles.stepping.stopping import StopRule

PLAN_SCHEMA = json.loads(resources("mlbroker.broker").joinpath("schemas/plan.json").read_text())
PRICES = """\
cloud,region,instance_type,market,price_per_hour_usd,as_of,source
aws,us-east-1,m5.large,on_demand,0.096,2026-11-01,test
aws,us-east-1,m5.4xlarge,on_demand,0.768,2026-11-01,test
"""
TABLE = """\
job,config,cloud,instance_type,time_s,steps,price_per_hour_usd
job,m5.large,aws,m5.large,0.5,1,0.096
job,m5.4xlarge,aws,m5.4xlarge,0.05,1,0.768
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLBROKER_NODES", "MLBROKER_PROJECT", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLBROKER_USER", "tester")
    return indexed(tmp_path / "state")


def job_file(folder: Path, **fields: Any) -> Path:
    path = folder / "job.yaml"
    broker = {"work": {"steps": 2000}, **fields.pop("broker", {})}
    path.write_text(json.dumps({"name": "job", "run": "true", "broker": broker, **fields}))
    return path


def sources(folder: Path) -> Sources:
    (folder / "prices.csv").write_text(PRICES)
    (folder / "measured.csv").write_text(TABLE)
    return Sources(measure=folder / "measured.csv", prices=folder / "prices.csv")


def test_a_plan_is_a_value_and_what_is_odd_is_told(tmp_path: Path, state: Path) -> None:
    heard = Heard()
    path = job_file(
        tmp_path, resources={"region": "us-esat-1", "cpus": "2+"}, event_callback="true"
    )
    job = job_of(path, heard, steps=1000)
    assert heard.notes == ["Ignored, as mlbroker has no use for it: event_callback"]
    planned = plan(PlanQuery(job, path, sources=sources(tmp_path)), state, heard)
    assert planned.plan.choice is None
    assert any("region 'us-esat-1' is not in the price book" in text for text in heard.warnings)
    assert isinstance(nothing_chosen(planned.plan), NothingFeasible)


def test_the_plan_rests_on_the_table_of_this_call(tmp_path: Path, state: Path) -> None:
    path = job_file(tmp_path)
    job = job_of(path, Heard(), steps=200_000)
    planned = plan(PlanQuery(job, path, sources=sources(tmp_path)), state, Heard())
    assert planned.plan.choice is not None
    assert planned.plan.choice.instance_type == "m5.4xlarge"
    assert {row.config for row in planned.evidence.measurements} == {"m5.large", "m5.4xlarge"}


@pytest.mark.parametrize(
    ("filters", "flag", "hint"),
    [
        (Filters(clouds=("asw",)), "--cloud", "did you mean aws?"),
        (Filters(instance_types=("m5.lagre",)), "--instance-type", "did you mean m5.large?"),
    ],
)
def test_a_name_nobody_knows_is_told_with_its_flag(
    tmp_path: Path, state: Path, filters: Filters, flag: str, hint: str
) -> None:
    path = job_file(tmp_path)
    query = PlanQuery(job_of(path, Heard()), path, filters, sources(tmp_path))
    with pytest.raises(InputError) as caught:
        plan(query, state, Heard())
    assert (caught.value.where, caught.value.hint) == (flag, hint)


def test_a_table_without_the_job_is_warned_of(tmp_path: Path, state: Path) -> None:
    heard, table = Heard(), tmp_path / "measured.csv"
    table.write_text(TABLE)
    found = evidence_of(Job(name="another", command="true"), state, table, heard)
    assert found.measurements == ()
    assert heard.warnings == [f"{table} has no row with job 'another'"]


def local_run(tmp_path: Path, **fields: Any) -> RunRequest:
    path = job_file(tmp_path, **fields)
    return RunRequest(job_of(path, Heard()), path, on="local", local_price_usd=Decimal(1))


GPU_PRICES = """\
cloud,region,instance_type,market,price_per_hour_usd,as_of,source
aws,us-east-1,g6.xlarge,on_demand,0.8048,2026-11-01,test
aws,us-east-1,g6.xlarge,spot,0.3,2026-11-01,test
aws,us-east-1,g4dn.xlarge,on_demand,0.526,2026-11-01,test
aws,us-east-1,g4dn.12xlarge,on_demand,3.912,2026-11-01,test
"""


@pytest.mark.parametrize(
    ("resources", "choice", "said"),
    [
        ({"accelerators": {"L4": 1, "L40": 1}}, "g6.xlarge", "sells L40, and no node of yours has"),
        ({"accelerators": "RTX4090"}, None, "(no RTX4090:1 anywhere)"),
        ({"accelerators": "RTX6000-Ada"}, None, "L40S (48 GiB) is most like it (48 GiB a chip)"),
        ({"accelerators": "T4", "max_hourly_cost": 0.01}, None,
         "(g4dn.xlarge: 0.526 USD an hour at least, the ceiling is 0.01)"),
        ({"accelerators": "T4:3"}, None, "(g4dn.12xlarge: 4 T4, asked for 3)"),
        ({"accelerators": "T4", "cpus": "300+"}, None,
         "(g4dn.16xlarge: 64 vCPUs, asked for 300+)"),
        ({"infra": "k8s"}, None, "not what the job file names (cloud k8s was asked for)"),
        ({"accelerators": "L4"}, "g6.xlarge", "On spot g6.xlarge in us-east-1 would cost"),
    ],
)  # fmt: skip
def test_what_is_nearest_to_what_a_task_asks_for(
    resources: dict[str, Any], choice: str | None, said: str, tmp_path: Path, state: Path
) -> None:
    heard, path = Heard(), tmp_path / "task.yaml"
    path.write_text(json.dumps({"run": "x", "resources": resources}))
    (tmp_path / "gpus.csv").write_text(GPU_PRICES)
    query = PlanQuery(job_of(path, heard), path, sources=Sources(prices=tmp_path / "gpus.csv"))
    made = plan(query, state, heard).plan
    assert (made.choice and made.choice.instance_type) == choice
    hint = "" if made.choice else nothing_chosen(made).hint or ""
    assert said in "\n".join([*heard.notes, *heard.warnings, hint])


def test_a_service_has_a_price_by_the_hour_alone(tmp_path: Path, state: Path) -> None:
    (tmp_path / "gpus.csv").write_text(GPU_PRICES)
    (tmp_path / "table.csv").write_text(TABLE.replace("m5.large", "g6.xlarge"))
    service = {"replica_policy": {"min_replicas": 2, "max_replicas": 5}}
    path, heard = job_file(tmp_path, service=service, resources={"accelerators": "L4"}), Heard()
    files = Sources(measure=tmp_path / "table.csv", prices=tmp_path / "gpus.csv")
    made = plan(PlanQuery(job_of(path, heard), path, sources=files), state, heard).plan
    assert made.choice is not None
    assert made.choice.cost_usd is None
    (said,) = [text for text in heard.notes if text.startswith("A service and no job: 2 of it")]
    each = made.choice.hourly_usd
    assert money(2 * each) in said
    assert money(5 * each) in said
    assert f"{money(2 * 730 * each)} a month" in said
    told = plan_document(made, explain=False)
    jsonschema.validate(told, PLAN_SCHEMA)
    assert Decimal(told["replicas"]["monthly_usd"]["most"]) == 5 * 730 * each
    assert told["replicas"]["least"] == 2
    assert "capacity" not in told["replicas"]
    told = plan_document(made, explain=False, measured=Measured(50.0, 40.0, "local-2cpu"))
    jsonschema.validate(told, PLAN_SCHEMA)
    assert told["replicas"]["capacity"]["low_rps"] == 40
    cost = told["replicas"]["capacity"]["usd_per_1000_requests"]
    assert cost == pytest.approx(float(each) / 3600 / 40 * 1000)


def test_what_a_service_s_traffic_needs_and_its_budget_pays_for(
    tmp_path: Path, state: Path
) -> None:
    (tmp_path / "gpus.csv").write_text(GPU_PRICES)
    policy = {"min_replicas": 2, "max_replicas": 90, "target_qps_per_replica": 5}
    asked = {"budget": {"month": "4000"}, "traffic": {"rate": "21", "peak": "99"}}
    path = job_file(
        tmp_path, service={"replica_policy": policy}, broker={"service": asked},
        resources={"accelerators": "L4", "use_spot": "false"},
    )  # fmt: skip
    heard, files = Heard(), Sources(prices=tmp_path / "gpus.csv")
    made = plan(PlanQuery(job_of(path, heard), path, sources=files), state, heard).plan
    assert made.choice is not None
    each = made.choice.hourly_usd
    told = "\n".join(heard.notes)
    assert f"21 requests a second on 5 each need 5 of it ({money(5 * 730 * each)} USD" in told
    assert "99 at the peak 20" in told
    assert f"1,000 requests cost {float(each) / 3.6 / 5:.3g} USD" in told
    assert f"pays for {int(4000 / (730 * each))} all the time" in told


def test_a_run_of_a_service_is_refused_with_what_to_do_also_here(
    tmp_path: Path, state: Path
) -> None:
    for block, command in (("service", "sky serve up"), ("pool", "sky jobs pool apply")):
        request = local_run(tmp_path, **{block: {}}, broker={"budget": "2"})
        with pytest.raises(InputError, match="runs until it is stopped") as caught:
            runs.prepare(request, state, Heard())
        assert command in str(caught.value)


def test_what_a_run_would_miss_is_refused_before_it_and_said_in_a_plan(
    tmp_path: Path, state: Path
) -> None:
    path, heard = job_file(tmp_path, file_mounts={"/data": "./data"}), Heard()
    job = job_of(path, heard)
    assert any("For a plan only; `mlbroker run` would refuse it: file_" in s for s in heard.notes)
    with pytest.raises(InputError, match="mounts and copies nothing"):
        runs.prepare(RunRequest(job, path), state, Heard())
    with pytest.raises(InputError, match="mounts and copies nothing"):
        profiles.prepare(ProfileRequest(job, path, StopRule(), auto=True), state, Heard())
    here, heard = local_run(tmp_path, file_mounts={"/data": "x"}, broker={"budget": "2"}), Heard()
    assert runs.prepare(here, state, heard)
    assert len(heard.warnings) == 1, "here the files may be at their place"


def test_a_run_is_prepared_under_its_cap_and_reserves_nothing(tmp_path: Path, state: Path) -> None:
    request = local_run(tmp_path, broker={"budget": "2 USD"})
    prepared = runs.prepare(request, state, Heard())
    assert prepared.worst.usd <= prepared.cap_usd == 2
    assert prepared.document()["lifetime_s"] == float(prepared.worst.lifetime_s)
    assert ledger_reports.runs(state, RunFilter()) == []


def test_what_is_expected_on_a_machine_of_ones_own_is_what_a_plan_says(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For `run --on`, for `profile --on`, and for a run that is planned."""
    nodes = tmp_path / "nodes.yaml"
    # A run leaves the file's name in the environment, for those who carry it on: not for others.
    monkeypatch.setenv(ENVIRONMENT, str(nodes))
    hardware = {"vcpus": 8, "memory_gib": 32}
    node = {"name": "box", "host": "h", "hardware": hardware, "price_per_hour_usd": 1}
    nodes.write_text(json.dumps({"nodes": [node]}))
    path = job_file(tmp_path, broker={"budget": "2 USD", "deadline": "3h", "work": {"steps": 1000}})
    job = job_of(path, Heard())
    there = RunRequest(job, path, on="box", sources=Sources(nodes=nodes))
    never = runs.prepare(there, state, Heard())
    assert (never.expected.cost_usd, never.options[0].predicted) == (None, None)
    assert expected_words(never.expected).startswith("Never measured")
    for name, basis in (("m5.large", Basis.DATASHEET), ("box", Basis.MEASURED)):
        cloud = "aws" if name == "m5.large" else "ssh"
        row = Measurement(
            job.name, name, 2.0, cloud=cloud, instance_type=name, steps=1000,
            fingerprint=job.fingerprint(), facts=evidence_facts.of(job),
        )  # fmt: skip
        MeasurementStore(state).add([row])
        on_box = runs.prepare(there, state, Heard())
        assert on_box.expected.basis is basis
        assert on_box.options[0].predicted is not None
        assert expected_words(on_box.expected).startswith("Expected of the whole job")
        planned = replace(there, on=None, filters=Filters(clouds=("ssh",)))
        quote = runs.prepare(planned, state, Heard()).expected
        profiled = ProfileRequest(job, path, StopRule(), on="box", nodes=nodes)
        [(_, known)] = profiles.prepare(profiled, state, Heard()).expected
        for said in (on_box.expected, known):
            assert (said.cost_usd, said.duration_h) == (quote.cost_usd, quote.duration_h)
            assert said.deadline_probability == pytest.approx(quote.deadline_probability, abs=1e-6)


def test_a_reserved_run_is_in_the_ledger_with_its_worst_case(tmp_path: Path, state: Path) -> None:
    prepared = runs.prepare(local_run(tmp_path, broker={"budget": "2 USD"}), state, Heard())
    with runs.reserve(prepared, {}, state, Heard()) as run:
        assert run.reserved_usd == prepared.worst.usd
        [row] = ledger_reports.runs(state, RunFilter(user="tester"))
    assert row["run_id"] == run.run_id
    assert ledger_reports.runs(state, RunFilter(user="another")) == []
    found = ledger_reports.verified(state, None)
    assert (found["ok"], ledger_reports.verified(state, found["head"])["ok"]) == (True, True)


def test_a_run_without_a_budget_is_refused(tmp_path: Path, state: Path) -> None:
    with pytest.raises(RefusedError, match="no budget"):
        runs.prepare(local_run(tmp_path), state, Heard())


def test_several_nodes_do_not_fit_on_one(tmp_path: Path, state: Path) -> None:
    with pytest.raises(NothingFeasible, match="asks for 2 machines, and a run has one"):
        runs.prepare(local_run(tmp_path, num_nodes=2), state, Heard())


def test_the_question_before_a_measurement_is_a_value(tmp_path: Path, state: Path) -> None:
    path = job_file(tmp_path, broker={"profile": {"max_time": "90s"}})
    job = job_of(path, Heard())
    prepared = profiles.prepare(ProfileRequest(job, path, StopRule()), state, Heard())
    assert prepared.question == "Run job here for at most 90 s to measure it?"
    assert not prepared.costs_money
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(
        "nodes:\n- {name: box, hardware: {vcpus: 4, memory_gib: 8}, price_per_hour_usd: 0.1}\n"
    )
    there = ProfileRequest(job, path, StopRule(), on="box", nodes=nodes)
    prepared = profiles.prepare(there, state, Heard())
    assert prepared.question.startswith("Measure job on box for at most ")
    assert prepared.costs_money
    [(option, quote)] = prepared.expected
    assert (option.instance_type, quote.cost_usd) == ("box", None)


def test_a_check_ends_with_what_weighs_most(tmp_path: Path, state: Path) -> None:
    job_file(tmp_path)
    limits = Thresholds(max_cost_usd=Decimal("0.001"))
    what = CheckRequest((tmp_path,), measure=sources(tmp_path).measure, limits=limits)
    found = checks.check(what, Sources(prices=tmp_path / "prices.csv"), state, Heard())
    assert [job.pair.name for job in found.jobs] == ["job"]
    assert isinstance(checks.verdict(found), ThresholdCrossed)
    (tmp_path / "broken.yaml").write_text('{"name": "b", "run": "true", "broker": {"work": 3}}')
    what = replace(what, paths=(tmp_path / "job.yaml", tmp_path / "broken.yaml"))
    found = checks.check(what, Sources(prices=tmp_path / "prices.csv"), state, Heard())
    assert isinstance(checks.verdict(found), InputError)


def test_reports_on_prices_are_documents(tmp_path: Path, state: Path) -> None:
    prices = sources(tmp_path).prices
    found = price_reports.machine_type("m5.large", state, prices, Heard())
    assert [row["price_per_hour_usd"] for row in found["prices"]] == ["0.096"]
    assert price_reports.status(state, prices, Heard())["offers"] == 2
    assert price_reports.odd_prices(state, prices)["quarantined"] == []
    with pytest.raises(InputError, match="unknown machine type") as caught:
        price_reports.machine_type("m5.lagre", state, prices, Heard())
    assert caught.value.hint == "Did you mean m5.large?"
