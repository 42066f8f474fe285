"""`plan` of a job whose steps were measured at several batches, as a process."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.indexed import indexed
from tests.support.mlbroker import Cli

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/plan.json").read_text("utf-8"))
TABLE = """\
job,config,time_s,price_per_hour_usd,cloud,instance_type,nodes,steps,batch_size,extra,gpu_used,peak_gpu_memory_gib
job,a,0.30,0.526,aws,g4dn.xlarge,1,80000,128,"{NOISE}",1,3.0
job,a,0.48,0.526,aws,g4dn.xlarge,1,80000,256,,1,4.1
job,a,0.85,0.526,aws,g4dn.xlarge,1,80000,512,,1,6.2
""".replace("NOISE", '""noise_told"": ""900 128"", ""batch_norm"": ""BatchNorm2d""')
BROKER: dict[str, Any] = {
    "work": {"steps": 80_000},
    "budget": "20 USD",
    "checkpoint": {"path": "ckpt/", "every": "10m"},
    "batch": {
        "size": 128,
        "max": 1024,
        "env": {"total": "BATCH"},
        "lr": {"env": "LR", "base": 0.05, "rule": "adascale"},
    },
}
HERE = ("--instance-type", "g4dn.xlarge", "--instance-type", "g4dn.12xlarge",
        "--region", "us-east-1", "--market", "on_demand")  # fmt: skip


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("plans"))
    indexed(cli.home)
    (cli.folder / "t.csv").write_text(TABLE)
    done = cli("profile", "import", cli.folder / "t.csv")
    assert done.returncode == 0, done.stderr
    return cli


def job_of(cli: Cli, **changed: Any) -> Path:
    return cli.job("python train.py", resources={"accelerators": "T4:1"}, broker=BROKER | changed)


def document(cli: Cli, job: Path) -> dict[str, Any]:
    done = cli("plan", job, *HERE, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    return found


def test_advice_leaves_the_choice_and_batch_makes_it(cli: Cli) -> None:
    off = document(cli, job_of(cli, adapt="off"))
    assert not {"batches", "batch_advice"} & off.keys()
    advised = document(cli, job_of(cli))
    assert advised["choice"] == off["choice"]
    assert "batch" not in advised["choice"]
    best = advised["batch_advice"]
    assert best["choice"]["batch"]["size"] == 256
    chosen = document(cli, job_of(cli, adapt="batch"))
    assert chosen["choice"] == best["choice"]
    assert "batch_advice" not in chosen
    at = chosen["choice"]["batch"]
    assert at["efficiency"] == pytest.approx(1028 / 1156)
    assert at["lr_scale"] == pytest.approx(1028 / (450 + 128))
    hours = advised["choice"]["duration_h"]["p50"] - chosen["choice"]["duration_h"]["p50"]
    assert best["saves_h"] == pytest.approx(hours)
    assert float(best["saves_usd"]) > 0


def test_words_and_columns(cli: Cli) -> None:
    told = cli("plan", job_of(cli), *HERE, "--explain").stdout
    assert "Another batch would save" in told
    assert "at batch 256 (a sample is worth 89%, learning rate x 1.779)" in told
    assert "It normalises by the batch (BatchNorm2d), which another batch changes." in told
    assert "Why not larger than 256: at 384 a step takes" in told
    assert "Why not more GPUs: 4 GPUs (g4dn.12xlarge, by data sheet): 3" in told
    chosen = cli("plan", job_of(cli, adapt="batch"), *HERE).stdout
    assert chosen.splitlines()[1].split()[-4:] == ["batch", "worth", "lr", "x"]
    assert chosen.splitlines()[2].split()[-3:] == ["256", "89%", "1.779"]
    assert "Another batch" not in chosen
    # A file for another tool tells the job the batch that its machine was chosen with.
    exported = cli("export", job_of(cli, adapt="batch"), "--to", "skypilot", *HERE)
    assert exported.returncode == 0, exported.stderr
    assert re.search(r"BATCH: .?256", exported.stdout)
    assert re.search(r"LR: .?0.0889", exported.stdout)
    # The cap is reserved whole, as it is with any batch.
    run = [
        json.loads(cli("run", job_of(cli, adapt=how), *HERE, "--dry-run", "--json").stdout)
        for how in ("off", "batch")
    ]
    assert run[0] == run[1]


def test_what_is_not_known_is_said_and_nothing_is_chosen_by_it(cli: Cli) -> None:
    table = cli.folder / "one.csv"
    table.write_text("\n".join(TABLE.replace("job,a", "solo,a").splitlines()[:2]) + "\n")
    job = cli.job("python other.py", name="solo", broker=BROKER | {"adapt": "batch"})
    found = json.loads(cli("plan", job, "--measure", table, "--json").stdout)
    assert "batch" not in found["choice"]
    told = cli("plan", job, "--measure", table).stdout
    wanted = "What another batch is worth is not known: mlbroker profile JOB --batch 256,512,1024."
    assert wanted in told
