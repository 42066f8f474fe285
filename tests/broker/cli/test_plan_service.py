"""`plan` of a service whose replicas' capacities are known: which machines, and what is refused."""

import json
from decimal import Decimal
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.cli import mlbroker
from tests.support.indexed import indexed
from tests.support.services import days_of_requests

SCHEMA = json.loads(resources("mlbroker.broker").joinpath("schemas/plan.json").read_text())
PRICES = """\
cloud,region,instance_type,market,price_per_hour_usd,as_of,source
aws,us-east-1,m5.large,on_demand,0.1,2026-11-01,test
aws,us-east-1,m5.4xlarge,on_demand,0.7,2026-11-01,test
aws,us-east-1,m5.large,spot,0.03,2026-11-01,test
"""
CAPACITY = {"m5.large": 2, "m5.4xlarge": 20}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return indexed(tmp_path / "state")


def service(folder: Path, replicas: dict[str, Any] | None = None, **asked: Any) -> Path:
    asked = {"traffic": {"trace": "requests.csv"}, "capacity": CAPACITY, **asked}
    rows = "".join(f"{row.start_ms // 1000},{row.requests}\n" for row in days_of_requests(3, 1, 30))
    (folder / "requests.csv").write_text("time_s,requests\n" + rows)
    (folder / "prices.csv").write_text(PRICES)
    path = folder / "service.yaml"
    policy = {"min_replicas": 1, "max_replicas": 50, **(replicas or {})}
    block = {"readiness_probe": "/", "replica_policy": policy}
    task = {"name": "svc", "run": "serve", "service": block, "broker": {"service": asked}}
    path.write_text(json.dumps({**task, "resources": {"use_spot": False, "cpus": "2+"}}))
    return path


def plan(path: Path, state: Path, *more: str) -> Any:
    return mlbroker("plan", path, "--prices", path.parent / "prices.csv", *more, home=state)


def test_the_mix_the_types_alone_and_what_the_budget_pays_for(tmp_path: Path, state: Path) -> None:
    done = plan(service(tmp_path, budget={"month": 900}), state)
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert "Of the machines of known capacity, for 30" in told
    assert "1 m5.4xlarge + 0 to " in told
    assert "Choose the mix: it saves " in told
    assert (
        "on one load balancer that gives requests by capacity (m5.4xlarge 20, m5.large 2)" in told
    )
    assert "A month like these 3 days: " in told
    assert "The budget of 900.00 USD a month pays for " in told
    assert " alone: " not in told
    assert " alone: " in plan(service(tmp_path), state, "--explain").stdout


def test_the_document_follows_its_schema(tmp_path: Path, state: Path) -> None:
    done = plan(service(tmp_path, budget={"month": 900}), state, "--json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    fleets = document["replicas"]["fleets"]
    best, alone = fleets["best"], fleets["singles"][0]["fleet"]
    assert best["always"][0]["instance_type"] == "m5.4xlarge"
    assert best["follows"]["instance_type"] == "m5.large"
    assert float(best["monthly_usd"]) < float(alone["monthly_usd"])
    assert best["served"] >= 0.95
    assert best["usd_per_1000_requests"] == pytest.approx(
        float(best["monthly_usd"]) / (730 * 3.6 * best["served"] * fleets["mean_rps"]), rel=1e-4
    )
    assert best["usd_per_million_tokens"] is None
    assert fleets["month"]["low_usd"] <= fleets["month"]["usd"] <= fleets["month"]["high_usd"]


def test_of_a_rate_and_a_peak_a_day_s_wave_is_assumed_and_said(tmp_path: Path, state: Path) -> None:
    path = service(tmp_path, traffic={"rate": 30, "peak": 60})
    assert "(a day's wave, as no trace is recorded)" in plan(path, state).stdout
    fleets = json.loads(plan(path, state, "--json").stdout)["replicas"]["fleets"]
    assert (fleets["shape"], fleets["month"]) == ("daily_wave", None)
    assert fleets["peak_rps"] == pytest.approx(60)


def test_without_capacities_or_traffic_nothing_is_chosen(tmp_path: Path, state: Path) -> None:
    for asked in ({"capacity": None}, {"traffic": None}):
        done = plan(service(tmp_path, **asked), state, "--json")
        assert done.returncode == 0, done.stderr
        assert "fleets" not in json.loads(done.stdout)["replicas"]


def test_a_guess_is_played_on_a_trace_and_said_to_be_one(tmp_path: Path, state: Path) -> None:
    replicas = {"target_qps_per_replica": 2}
    path = service(tmp_path, replicas, capacity=None)
    told = plan(path, state, "--instance-type", "m5.large")
    assert told.returncode == 0, told.stderr
    assert "What a replica serves there is a guess, by target_qps_per_replica." in told.stdout
    assert "1,000 requests cost" in told.stderr
    document = json.loads(plan(path, state, "--instance-type", "m5.large", "--json").stdout)
    jsonschema.validate(document, SCHEMA)
    fleets = document["replicas"]["fleets"]
    assert fleets["guess"] == "by target_qps_per_replica"
    assert fleets["best"]["follows"]["known"] == "guess"
    few = service(tmp_path, {**replicas, "max_replicas": 3}, capacity=None)
    done = plan(few, state, "--instance-type", "m5.large")
    assert done.returncode == 0, "a guess refuses nothing"
    assert "m5.large alone: 3 replicas at most serve too little," in done.stdout


def test_flags_hold_for_the_fleets_too(tmp_path: Path, state: Path) -> None:
    told = plan(service(tmp_path), state, "--instance-type", "m5.large", "--json").stdout
    fleets = json.loads(told)["replicas"]["fleets"]
    assert [single["instance_type"] for single in fleets["singles"]] == ["m5.large"]
    path = service(tmp_path)
    path.write_text(path.read_text().replace('"use_spot": false, ', ""))
    told = plan(path, state, "--market", "spot", "--json").stdout
    document = json.loads(told)
    follows = document["replicas"]["fleets"]["best"]["follows"]
    assert (follows["market"], follows["rps"]) == ("spot", 2)
    # What stands in for it on demand is in its price.
    assert Decimal(document["choice"]["hourly_usd"]) < Decimal(follows["usd_per_h"])


@pytest.mark.parametrize(
    ("replicas", "asked", "said", "hint"),
    [
        ({"max_replicas": 2}, {"capacity": {"m5.large": 2}}, "2 replicas serve too little",
         " of m5.large would do: max_replicas"),
        ({"min_replicas": 0, "max_replicas": 0}, {}, "0 replicas serve too little", "would do"),
        ({}, {"capacity": {"m5.large": 0}}, "no machine of known capacity meets the objective",
         "m5.large: capacity 0"),
        ({"min_replicas": 9}, {"budget": {"month": 50}}, "less than the fewest replicas (9) cost",
         "USD would do, or fewer min_replicas"),
    ],
)  # fmt: skip
def test_what_nothing_meets_ends_with_4_and_says_why(
    replicas: dict[str, Any], asked: dict[str, Any], said: str, hint: str, tmp_path: Path,
    state: Path,
) -> None:  # fmt: skip
    done = plan(service(tmp_path, replicas, **asked), state)
    assert done.returncode == 4
    assert said in done.stderr
    assert hint in done.stderr
    document = json.loads(plan(service(tmp_path, replicas, **asked), state, "--json").stdout)
    jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("time_s,requests\n0,5\n600,6\n300,7\n", "requests.csv, line 4, column time_s"),
        ("time_s,requests\n0,5\n600,-6\n", "requests.csv, line 3, column requests"),
        ("time_s,requests\n", "the trace has no rows"),
        ("time_s,requests\n1700000000000,5\n1700000600000,6\n", "milliseconds?"),
        ("time_s,requests\n0,0\n600,0\n", "the trace has no requests"),
    ],
)
def test_a_trace_that_cannot_be_is_told_with_its_line(
    trace: str, said: str, tmp_path: Path, state: Path
) -> None:
    path = service(tmp_path)
    (tmp_path / "requests.csv").write_text(trace)
    done = plan(path, state)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_type_that_nobody_sells_is_told_with_its_line(tmp_path: Path, state: Path) -> None:
    done = plan(service(tmp_path, capacity={"m5.lagre": 3}), state)
    assert done.returncode == 2
    assert "broker.service.capacity.m5.lagre: 'm5.lagre' is not in the price book" in done.stderr
    assert "did you mean m5.large?" in done.stderr
