"""`mlbroker advise` as a user calls it, held to its schema and to `plan --json`."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.cli import mlbroker

from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.queue.terms import Terms
from mlbroker.profiles.measurement import Measurement

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/advise.json").read_text())
JOB = """\
name: reviews
resources: {any_of: [{cpus: 2+, memory: 4+}, {accelerators: T4:1}]}
run: python train.py
broker: {deadline: 30m, work: {steps: 204}, runs_per_month: 720}
"""
GPU_ONLY = JOB.replace(
    "{any_of: [{cpus: 2+, memory: 4+}, {accelerators: T4:1}]}", "{accelerators: T4:1}"
)
TABLE = """\
job,config,time_s,price_per_hour_usd,cloud,region,instance_type,nodes,steps
reviews,a,1.2,0.096,aws,us-east-1,m5.large,1,204
"""
ON_A_GPU = TABLE.replace("m5.large", "g4dn.xlarge")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "measured.csv"
    path.write_text(TABLE)
    return path


def told(*args: str | Path, home: Path) -> dict[str, Any]:
    done = mlbroker("advise", *args, "--json", home=home)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    return document


def test_a_processor_that_does_it_is_the_one_that_plan_names(
    job: Path, table: Path, home: Path
) -> None:
    found = told(job, "--measure", table, home=home)["without_gpu"]
    plan = mlbroker("plan", job, "--measure", table, "--json", home=home)
    assert found["verdict"] == "enough"
    assert found["quote"] == json.loads(plan.stdout)["choice"]
    quotes = [Decimal(found[name]["cost_usd"]["expected"]) for name in ("gpu_quote", "quote")]
    more = Decimal(found["gpu_costs_more_usd"])
    assert more == quotes[0] - quotes[1] > 0
    assert Decimal(found["gpu_costs_more_usd_per_month"]) == 720 * more
    assert not found["job_asks_for_gpu"]
    assert found["gpu_quote"]["instance_type"].startswith(("g4dn", "n1", "Standard_NC"))


def test_a_job_that_asks_for_a_gpu_is_told_what_would_do(
    job: Path, table: Path, home: Path
) -> None:
    job.write_text(GPU_ONLY)
    found = told(job, "--measure", table, home=home)["without_gpu"]
    assert (found["verdict"], found["job_asks_for_gpu"]) == ("enough", True)
    plan = mlbroker("plan", job, "--measure", table, "--json", home=home)
    assert found["gpu_quote"] == json.loads(plan.stdout)["choice"]
    line = mlbroker("plan", job, "--measure", table, home=home).stdout
    assert f"Without a GPU: {found['quote']['instance_type']} in" in line
    job.write_text(JOB.replace("{any_of: [{cpus: 2+, memory: 4+}, {accelerators: T4:1}]}",
                               "{cpus: 1+}"))  # fmt: skip
    assert "Without a GPU" not in mlbroker("plan", job, "--measure", table, home=home).stdout


def test_who_waits_for_the_gpu_s_place_is_reckoned_with(job: Path, table: Path, home: Path) -> None:
    nodes = job.parent / "nodes.yaml"
    nodes.write_text(
        "nodes:\n- name: gpu-box\n  host: 192.0.2.1\n  price_per_hour_usd: 0.2\n"
        "  hardware: {vcpus: 8, memory_gib: 32, gpu: T4, gpu_count: 1}\n"
    )
    table.write_text(TABLE + "reviews,b,0.6,0.2,ssh,on-prem,gpu-box,1,204\n")
    asked = (job, "--measure", table, "--nodes", nodes)
    found = told(*asked, home=home)["without_gpu"]
    assert found["gpu_quote"]["instance_type"] == "gpu-box"
    assert (found["gpu_others_usd"], "others wait" in found["text"]) == ("0", False)
    queue = Terms(Decimal(6), None, True, "auto", {}, ("ssh/gpu-box",)).body()
    body = {"job": "j", "user": "u", "cap_usd": "5", "reserved_usd": "5",
            "candidate": {"cloud": "ssh", "instance_type": "gpu-box"},
            "queue": queue}  # fmt: skip
    open_ledger(home).reserve(datetime.now(UTC), "waits", body, waits=lambda runs: True)
    found = told(*asked, home=home)["without_gpu"]
    hours = found["gpu_quote"]["duration_h"]["p50"]
    assert float(found["gpu_others_usd"]) == pytest.approx(6 * hours, rel=1e-3)
    assert "others wait for that place, and lose" in found["text"]


def test_no_processor_is_in_time(job: Path, table: Path, home: Path) -> None:
    found = told(job, "--measure", table, "--deadline", "10s", home=home)["without_gpu"]
    assert (found["verdict"], found["quote"]) == ("not_in_time", None)
    assert found["gpu_costs_more_usd"] is None


def test_a_job_only_seen_on_a_gpu_is_not_promised_a_processor(
    job: Path, table: Path, home: Path
) -> None:
    table.write_text(ON_A_GPU)
    found = told(job, "--measure", table, home=home)["without_gpu"]
    assert (found["verdict"], found["quote"]) == ("unknown", None)
    assert "mlbroker profile JOB" in found["text"]


def test_a_job_never_measured_has_no_advice(job: Path, home: Path) -> None:
    assert told(job, home=home)["without_gpu"] is None
    done = mlbroker("advise", job, home=home)
    assert (done.returncode, done.stdout.count("unknown")) == (0, 1)


def test_what_is_no_job_is_refused(tmp_path: Path, home: Path) -> None:
    done = mlbroker("advise", tmp_path / "none.yaml", home=home)
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_padding_and_waiting_cost_what_the_choice_costs(job: Path, home: Path) -> None:
    """Of a measurement that is kept; `profile show` tells the same counts."""
    extra = {
        "tokens_real": "600",
        "tokens_padded": "1000",
        "tokens_steps": "10",
        "tokens_by": "pad id",
        "tokens_lengths": "64:20",
        "tokens_sizes": "5:100:5000:1.2",
        "data_wait_share": "0.25",
    }
    seen = Measurement(
        "padded",
        "m5.large",
        1.2,
        price_per_hour_usd=Decimal("0.096"),
        cloud="aws",
        region="us-east-1",
        instance_type="m5.large",
        steps=204,
        extra=extra,
    )
    MeasurementStore(home).add([seen])
    job.write_text(JOB.replace("reviews", "padded"))
    found = told(job, home=home)
    assert found["tokens"]["padding_share"] == pytest.approx(0.4)
    assert found["tokens"]["real_per_s"] == pytest.approx(50)
    # 60 tokens a step of 1.2 s at .096 USD an hour.
    assert Decimal(found["tokens"]["usd_per_million_real"]) == Decimal("0.533333")
    assert found["step_law"] is None
    assert [(w["kind"], w["share"], w["at_most"]) for w in found["wastes"]] == [
        ("padding", pytest.approx(0.4), True),
        ("data_wait", 0.25, True),
    ]
    compute = Decimal(found["choice"]["cost_usd"]["compute"])
    for waste in found["wastes"]:
        usd = Decimal(waste["usd_per_run"])
        # Less than its share of all that is paid for: a machine's start is no step.
        assert 0 < usd < compute * Decimal(waste["share"])
        assert Decimal(waste["usd_per_month"]) == 720 * usd
    shown = mlbroker("profile", "show", job, "--json", home=home)
    assert json.loads(shown.stdout)["measurements"][-1]["tokens"] == found["tokens"]
    words = mlbroker("profile", "show", job, home=home).stdout
    assert "Padding: 40% of its batches' places (by the collator's pad id); 50 real" in words
    assert "0.53 USD per million" in words
    lines = mlbroker("advise", job, home=home).stdout.splitlines()
    assert lines[0].startswith("Padding takes up to 40% of the time, up to 0.")
    assert " USD a month, as on m5.large: batches of like lengths" in lines[0]
