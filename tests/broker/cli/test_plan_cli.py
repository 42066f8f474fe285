"""`mlbroker plan` as a process: its document, its words, its exit codes."""

import json
import re
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.cli import mlbroker
from tests.support.indexed import indexed

from mlbroker.broker.files.values import parse_duration_s
from mlbroker.broker.words import duration, money

JOB = """\
name: bert-ft
resources: {cpus: 2+, memory: 8+}
run: python train.py
broker:
  deadline: 6h
  budget: 25 USD
  work: {steps: 12000, hours: 0.8, on: m5.xlarge}
"""
PLAIN = """\
name: sky
resources: {accelerators: L4:1}
file_mounts: {/data: s3://bucket}
envs: {MODEL: null}
run: python train.py
"""
TABLE = """\
job,config,time_s,price_per_hour_usd,cloud,region,instance_type,nodes,steps
bert-ft,a,0.9,0.096,aws,us-east-1,m5.large,1,12000
bert-ft,b,0.5,0.192,aws,us-east-1,m5.xlarge,1,12000
"""
SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/plan.json").read_text())


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def document(*args: str | Path, home: Path, code: int = 0) -> dict[str, Any]:
    done = mlbroker("plan", *args, "--json", home=home)
    assert done.returncode == code, done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(plan, SCHEMA)
    return plan


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_of_another_encoding_gets_other_signs(
    job: Path, home: Path, encoding: str
) -> None:
    done = mlbroker("plan", job, "--top", "2", home=home, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "... and " in done.stdout
    assert done.stdout.isascii()


def test_the_plan_of_a_measured_job_is_worked_out_once(job: Path, tmp_path: Path) -> None:
    state = indexed(tmp_path / "home")
    (tmp_path / "t.csv").write_text(TABLE)
    assert mlbroker("profile", "import", tmp_path / "t.csv", home=state).returncode == 0
    first, second = (
        mlbroker("plan", job, home=state, env={"PYTHONPROFILEIMPORTTIME": "1"}) for _ in range(2)
    )
    assert " numpy\n" in first.stderr
    assert " numpy\n" not in second.stderr
    assert second.stdout == first.stdout
    assert "predicted" in second.stdout


def test_the_document_follows_its_schema(job: Path, home: Path) -> None:
    plan = document(job, home=home)
    assert plan["schema"] == "mlbroker.plan/2"
    assert plan["deadline_s"] == 21_600
    assert plan["budget_usd"] == "25"
    assert plan["choice"] == plan["quotes"][0]
    assert len(plan["quotes"]) == 10
    saving = Decimal(plan["baseline"]["cost_usd"]["expected"]) - Decimal(
        plan["choice"]["cost_usd"]["expected"]
    )
    assert Decimal(plan["savings_usd"]) == saving
    explained = document(job, "--explain", "--top", "0", home=home)
    assert len(explained["quotes"]) == explained["feasible"]
    assert len(explained["rejected"]) == sum(explained["rejections"].values())


def test_a_plain_skypilot_task_plans_with_flags(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(PLAIN)
    done = mlbroker(
        "plan", path, "--deadline", "24h", "--budget", "50", "--steps", "1000", "--json",
        "--env", "MODEL=7b", home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "envs.MODEL has no value" not in done.stderr
    assert "file_mounts" in done.stderr
    assert json.loads(done.stdout)["job"]["steps"] == 1000


def test_measurements_of_a_table_are_used(job: Path, tmp_path: Path, home: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text(TABLE)
    plan = document(
        job, "--measure", table, "--market", "on_demand", "--region", "us-east-1",
        "--instance-type", "m5.large", "--instance-type", "m5.xlarge", home=home,
    )  # fmt: skip
    assert plan["choice"]["basis"] == "measured"
    by_type = {quote["instance_type"]: quote for quote in plan["quotes"]}
    assert by_type["m5.large"]["step_time_s"]["p50"] == pytest.approx(0.9)
    assert by_type["m5.xlarge"]["step_time_s"]["p50"] == pytest.approx(0.5)
    assert plan["choice"]["instance_type"] == "m5.large"


def test_nothing_feasible_exits_4_with_the_document_and_the_way_out(job: Path, home: Path) -> None:
    plan = document(job, "--deadline", "100s", home=home, code=4)
    assert plan["choice"] is None
    assert plan["near_miss"]["deadline_s"] > 100
    done = mlbroker("plan", job, "--deadline", "100s", home=home)
    assert done.returncode == 4
    assert "would do" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_no_image_serves_is_named_where_nothing_else_would_do(
    home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a10.yaml"
    path.write_text("run: x\nresources: {accelerators: 'A10:1'}\nbroker: {work: {steps: 10}}\n")
    done = mlbroker("plan", path, home=home)
    assert done.returncode == 4
    assert "GRID driver" in done.stderr
    assert "with an image_id of yours" in done.stderr


def test_words_for_people(job: Path, home: Path) -> None:
    done = mlbroker("plan", job, home=home)
    assert done.returncode == 0, done.stderr
    for words in ("Choose ", "less than the usual m5.2xlarge", "Not picked", "Prices: aws 20"):
        assert words in done.stdout
    assert "\x1b" not in done.stdout  # no colours in a pipe
    every = mlbroker("plan", job, "--explain", home=home).stdout
    assert "asked for 2+" in every


def test_explaining_one_type(job: Path, home: Path) -> None:
    told = mlbroker("plan", job, "--explain", "m5.xlarge", home=home).stdout
    assert "m5.xlarge" in told
    assert "dearer than" in told or "not picked" in told
    small = mlbroker("plan", job, "--explain", "t2.nano", home=home).stdout
    assert "needs_not_met" in small


def test_what_the_job_is_said_to_take_is_a_weak_measurement(job: Path, home: Path) -> None:
    told = (job, "--takes", "3h@m5.xlarge", "--deadline", "12h")
    plan = document(*told, "--instance-type", "m5.xlarge", home=home)
    hours = plan["choice"]["duration_h"]
    assert 3 < hours["p50"] < 3.2
    assert hours["p90"] > 5.5
    assert plan["choice"]["basis"] == "stated"
    done = mlbroker("plan", *told, home=home)
    assert "aid to take 3 h on m5.xlarge" in done.stdout
    assert "rest on what was said" in done.stdout
    done = mlbroker("plan", job, "--takes", "3h@m5.xlarg", home=home)
    assert (done.returncode, "did you mean m5.xlarge?" in done.stderr) == (2, True)


@pytest.mark.parametrize("work", ["", "  work: {steps: 40000}\n"])
def test_of_a_job_never_measured_there_is_no_price_of_a_run(
    work: str, tmp_path: Path, home: Path
) -> None:
    """Neither in the table, nor in the sentence, nor explained, nor in the document."""
    job = tmp_path / "new.yaml"
    job.write_text(JOB.replace("  work: {steps: 12000, hours: 0.8, on: m5.xlarge}\n", work))
    policy = tmp_path / "mlbroker-policy.yaml"
    policy.write_text("max_spend_per_run: 1 USD\n")
    plan = document(job, "--top", "0", home=home)
    assert plan["unjudged"] == ["deadline", "budget", "max_spend_per_run"]
    for quote in [plan["choice"], plan["baseline"], *plan["quotes"]]:
        nothing = ("step_time_s", "duration_h", "cost_usd", "deadline_probability",
                   "energy_kwh", "carbon_kgco2e")  # fmt: skip
        assert {name: quote[name] for name in nothing} == dict.fromkeys(nothing)
        assert (quote["basis"], quote["evidence"]) == ("unknown", "never measured")
        assert quote["relative_speed"] is None or quote["relative_speed"] > 0
    assert plan["savings_usd"] is None
    for args in ((), ("--explain",), ("--explain", "m5.xlarge")):
        told = mlbroker("plan", job, *args, home=home).stdout
        assert "or say `work: {hours: 3, on: g5.xlarge}`" in told
        assert "Never measured: how long it takes and what a run costs is not known." in told
        assert "Could not be judged: the deadline of 6h00m, the budget of 25 USD" in told
        below_the_title = told.partition("\n")[2]
        assert not re.search(r"[\d.]+ USD(?! an hour| \(it caps)", below_the_title), told


def test_how_sure_a_prediction_is_is_said_once(job: Path, tmp_path: Path, home: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text(TABLE)
    told = mlbroker("plan", job, "--measure", table, "--explain", "m5.2xlarge", home=home).stdout
    (line, *_) = [line for line in told.splitlines() if "(predicted, " in line]
    assert "measured on m5.xlarge" in line
    assert line.count("within a factor of") + line.count("±") == 1
    assert "at 80 %" in line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--cloud", "awz"], ["--cloud", "did you mean aws"]),
        (["--region", "us-east-11"], ["--region", "did you mean us-east-1"]),
        (["--cloud", "aws", "--region", "us-west4"], ["--region", "is no region of aws"]),
        (["--instance-type", "m5.lrge"], ["--instance-type", "did you mean m5.large"]),
        (["--explain", "m5.lrge"], ["did you mean m5.large"]),
        (["--deadline", "soon"], ["--deadline"]),
        (["--budget", "5 EUR"], ["--budget", "USD"]),
        (["--objective", "fame"], ["--objective", "cost"]),
        (["--steps", "-3"], ["--steps"]),
        (["--steps", "3", "--epochs", "2"], ["--steps"]),
        (["--epochs", "3"], ["--steps-per-epoch"]),
        (["--measure", "none.csv"], ["none.csv"]),
        (["--prices", "none.csv"], ["none.csv"]),
        (["--confidence", "2"], ["--confidence"]),
    ],
)
def test_bad_flags_exit_2_and_name_themselves(
    job: Path, home: Path, args: list[str], words: list[str]
) -> None:
    done = mlbroker("plan", job, *args, home=home)
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ("{infra: aws/us-eats-1}", "region 'us-eats-1' is not in the price book: did you mean"),
        ("{instance_type: m5.larg}", "instance_type 'm5.larg' is not in the price book: did you"),
        ("{infra: lambda}", "cloud 'lambda' is not in the price book: known are aws, azure, gcp\n"),
    ],
)
def test_a_name_that_the_book_does_not_know_is_told(
    resources: str, told: str, tmp_path: Path, home: Path
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"run: x\nresources: {resources}\n")
    done = mlbroker("plan", job, home=home)
    assert done.returncode == 4
    assert f"Warning: resources: {told}" in done.stderr
    assert f"Error: {job}:2: resources: no machine meets" in done.stderr
    assert "measure the job" not in done.stderr, "measuring would change nothing"


@pytest.mark.parametrize(
    ("objective", "told"), [("cost", "USD dearer"), ("time", "slower"), ("carbon", "kgCO2e more")]
)
def test_what_a_type_lost_by_is_told_in_the_objectives_terms(
    objective: str, told: str, job: Path, home: Path
) -> None:
    done = mlbroker("plan", job, "--objective", objective, "--explain", "m5.xlarge", home=home)
    lines = [line for line in done.stdout.splitlines() if "not picked: " in line]
    assert lines
    assert all(told in line for line in lines)


def test_the_choice_is_also_told_in_the_users_own_currency(job: Path, tmp_path: Path) -> None:
    (tmp_path / "terms.yaml").write_text("currency: {code: EUR, per_usd: 2}\n")
    cost = document(job, home=tmp_path)["choice"]["cost_usd"]
    done = mlbroker("plan", job, home=tmp_path)
    expected = Decimal(cost["expected"]) * 2
    assert f"In EUR, at your 2 a dollar: {money(expected)}" in done.stdout


def test_own_nodes_are_in_the_plan(job: Path, tmp_path: Path, home: Path) -> None:
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(
        "nodes:\n- name: office\n  hardware: {vcpus: 16, memory_gib: 64}\n"
        "  price_per_hour_usd: 0.001\n"
    )
    plan = document(job, "--nodes", nodes, home=home)
    assert plan["choice"]["instance_type"] == "office"
    assert plan["choice"]["region"] == "on-prem"
    assert plan["choice"]["carbon_kgco2e"] is None  # nobody said where the office is
    assert "0.001 USD/h, stated in" in plan["choice"]["price_source"]


@pytest.mark.parametrize(
    ("usd", "shown", "least"),
    [
        ("0", "0.00", "0.00"),
        ("0.000038", "0.000038", "0.000038"),
        ("0.00012345", "0.00012", "0.00013"),
        ("0.000998", "0.0010", "0.0010"),
        ("0.01234", "0.0123", "0.0124"),
        ("3.4501", "3.45", "3.46"),
        ("-0.2", "-0.20", "-0.20"),
        ("1234.5", "1,234.50", "1,234.50"),
    ],
)
def test_no_cost_is_shown_as_nothing_and_no_need_as_less(usd: str, shown: str, least: str) -> None:
    assert money(Decimal(usd)) == shown
    assert money(Decimal(usd), least=True) == least


@pytest.mark.parametrize("seconds", [0.2, 89.2, 89.9, 91, 3101.0, 5399, 5401, 172_799, 180_001])
def test_a_deadline_that_is_said_to_do_is_no_shorter_than_needed(seconds: float) -> None:
    said = parse_duration_s(duration(seconds, least=True))
    assert seconds <= said <= max(seconds + 1, 1.6 * seconds)


def test_a_type_that_was_named_and_will_not_do_says_why(job: Path, home: Path) -> None:
    done = mlbroker("plan", job, "--instance-type", "t2.nano", home=home)
    assert done.returncode == 4
    assert "do not meet the job's needs (t2.nano: 1 vCPU, asked for 2+)" in done.stderr
    policy = job.parent / "policy.yaml"
    policy.write_text("deny: {instance_types: [m5.large]}\n")
    named = ("--instance-type", "m5.large", "--policy", policy)
    done = mlbroker("plan", job, *named, "--deadline", "3d", home=home)
    assert "(m5.large: deny: instance type m5.large is denied" in done.stderr
    late = mlbroker("plan", job, *named, "--deadline", "6h", home=home)
    assert late.returncode == 4
    assert "a deadline of" not in late.stderr, "it is denied whatever the deadline"


def test_what_is_said_to_do_keeps_the_other_limits(job: Path, home: Path) -> None:
    """A deadline that only a machine beyond the budget could keep is none that would do."""
    limits = {"deadline": "10m", "budget": "0.01"}
    for _ in range(3):
        options = [word for name, value in limits.items() for word in (f"--{name}", value)]
        done = mlbroker("plan", job, "--cloud", "aws", *options, home=home)
        if done.returncode == 0:
            break
        said = re.findall(r"a (deadline|budget) of (\S+)", done.stderr.split("; or")[0])
        assert said, done.stderr
        limits |= dict(said)
    assert done.returncode == 0, (limits, done.stderr)
    plan = json.loads(
        mlbroker("plan", job, "--deadline", "10m", "--budget", "0.01", "--json", home=home).stdout
    )
    jsonschema.validate(plan, SCHEMA)
    assert plan["near_miss"]["together"] is True


def test_where_to_measure_next_does_not_depend_on_how_many_are_shown(
    job: Path, home: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(TABLE)
    told = []
    for top in ("1", "10", "0"):
        done = mlbroker("plan", job, "--measure", table, "--top", top, home=home)
        assert done.returncode == 0, done.stderr
        told += re.findall(r"(?:Most worth measuring|No further measurement).*", done.stdout)
    assert len(told) == 3
    assert len(set(told)) == 1


@pytest.mark.parametrize(
    ("old", "new", "options", "says"),
    [
        ("6h", "2020-01-01T00:00Z", (), "job.yaml:5: broker.deadline: the deadline has passed"),
        ("6h", "7h", ("--deadline", "2020-01-01T00:00Z"), "--deadline: the deadline has passed"),
        ("6h", "7h\n  data: {input_gb: 1, at: mars/us-east-1}", (),
         "job.yaml:6: broker.data.at: there is no cloud 'mars'"),
    ],
)  # fmt: skip
def test_what_a_book_or_a_clock_finds_wrong_is_told_with_file_and_line(
    job: Path, home: Path, old: str, new: str, options: tuple[str, ...], says: str
) -> None:
    job.write_text(JOB.replace(f"deadline: {old}", f"deadline: {new}"))
    done = mlbroker("plan", job, *options, home=home)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_the_choice_is_exported_and_what_is_not_in_the_file_is_said(job: Path, home: Path) -> None:
    pinned = ("--instance-type", "m5.xlarge", "--region", "us-east-1", "--market", "spot")
    there = job.with_name("job.sbatch")
    done = mlbroker("export", job, "--to", "slurm", "-o", there, *pinned, home=home)
    assert done.returncode == 0, done.stderr
    assert "# m5.xlarge of aws in us-east-1, spot, by mlbroker export: " in there.read_text()
    assert "#SBATCH --time=0-06:00:00\n" in there.read_text()
    for what in ("instance_type: m5.xlarge", "infra: aws/us-east-1", "budget: 25 USD"):
        assert f"{what} is not in the file: slurm has no word for it" in done.stderr
    again = mlbroker("export", job, "--to", "slurm", "-o", there, *pinned, home=home)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    back = mlbroker("init", job.parent, "--from", there, "-o", "back.yaml", home=home)
    assert back.returncode == 0, back.stderr
    assert "deadline: 6h\n" in job.with_name("back.yaml").read_text()
    shown = mlbroker("export", job, "--to", "skypilot", *pinned, home=home)
    assert "instance_type: m5.xlarge\n" in shown.stdout
    assert shown.stdout.endswith("run: python train.py\n")


def test_what_cannot_be_exported_is_said(job: Path, home: Path) -> None:
    done = mlbroker("export", job, "--to", "slurmm", home=home)
    assert (done.returncode, "did you mean slurm?" in done.stderr) == (2, True)
    late = mlbroker("export", job, "--to", "dstack", "--budget", "0.0001", home=home)
    assert (late.returncode, late.stdout) == (4, "")
    job.write_text(
        "resources: {cpus: 2+}\nservice: {replicas: 2, readiness_probe: /}\nrun: serve\n"
    )
    served = mlbroker("export", job, "--to", "dstack", home=home)
    assert served.returncode == 2
    assert "runs until it is stopped" in served.stderr
    job.write_text(PLAIN + "setup: echo $SKYPILOT_NODE_RANK\n")
    mounted = mlbroker("export", job, "--to", "dstack", home=home)
    assert mounted.returncode == 0
    assert "file_mounts: mlbroker mounts and copies nothing" in mounted.stderr
    assert "$SKYPILOT_NODE_RANK: the command uses it, and dstack does not set it" in mounted.stderr


FALLS_BACK = """\
name: bert-ft
resources: {instance_type: g5.xlarge}
run: python train.py
broker:
  deadline: 15h
  work: {steps: 12000, hours: 6, on: g5.xlarge}
  checkpoint: {path: ckpt/, every: 10m}
"""


def test_spot_that_falls_back_says_so_and_its_programmes_are_kept(
    tmp_path: Path,
) -> None:
    home, path = indexed(tmp_path / "home"), tmp_path / "job.yaml"
    path.write_text(FALLS_BACK)
    choice = document(path, home=home)["choice"]
    assert choice["market"] == "spot"
    assert choice["spot"]["falls_back"] is True
    assert 0 <= choice["spot"]["on_demand_share"] < 1
    assert choice["deadline_probability"] >= 0.9
    kept = {entry.name for entry in (home / "programmes").iterdir()}
    assert kept
    shown = mlbroker("plan", path, home=home)
    assert "Spot, falls back to on demand (1.006 USD an hour) to be in time:" in shown.stdout
    assert {entry.name for entry in (home / "programmes").iterdir()} == kept
    told = mlbroker("plan", path, "--explain", "g5.xlarge", home=home)
    assert "interruptions and on demand" in told.stdout


def test_strictly_spot_with_a_deadline_is_said_and_what_to_write_for_both(
    tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(FALLS_BACK.replace("{inst", "{use_spot: true, inst"))
    done = mlbroker("plan", path, home=home)
    assert "strictly spot, as in SkyPilot" in done.stderr
    assert "falls back to on demand" not in done.stdout
    path.write_text(
        FALLS_BACK.replace("{inst", "{any_of: [{use_spot: true}, {use_spot: false}], inst")
    )
    done = mlbroker("plan", path, home=home)
    assert "strictly spot" not in done.stderr
    assert "falls back to on demand" in done.stdout


def test_a_checkpoint_rarer_than_a_spot_machine_lives_is_warned_of(
    tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(FALLS_BACK.replace("every: 10m", "every: 6h"))
    done = mlbroker("plan", path, home=home)
    warning = " ".join(done.stderr.split())
    assert (
        "a checkpoint every 6h00m is longer than spot machines with a GPU usually live" in warning
    )
    assert "loses 3h00m of work" in warning
    path.write_text(FALLS_BACK)
    assert "a checkpoint every" not in mlbroker("plan", path, home=home).stderr
