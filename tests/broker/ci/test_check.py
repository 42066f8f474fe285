"""`mlbroker check` as users call it, in real repositories, on the embedded price book."""

import html
import json
import subprocess
import sys
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.repositories import Repository, check, job_text

SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/check.json").read_text("utf-8"))


def document(repository: Repository, home: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = check(*arguments, "--json", cwd=repository.root, home=home)
    assert done.code == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.fixture
def changed(repository: Repository) -> Repository:
    """A branch that doubles one job, adds one, removes one and leaves one alone."""
    repository.commit({f"{n}.yaml": job_text(n) for n in ("double", "gone", "same")})
    repository.branch()
    repository.write("double.yaml", job_text("double", 40_000))
    repository.git("rm", "-q", "gone.yaml")
    repository.write("new.yaml", job_text("new"))
    return repository


def test_costs_before_and_after(changed: Repository, home: Path) -> None:
    found = document(changed, home, "--base", "main")
    jobs = {job["name"]: job for job in found["jobs"]}
    assert {name: job["status"] for name, job in jobs.items()} == {
        "double": "changed",
        "gone": "removed",
        "new": "added",
        "same": "unchanged",
    }
    double, gone, new = jobs["double"], jobs["gone"], jobs["new"]
    before, after = Decimal(double["base_cost_usd"]), Decimal(double["head_cost_usd"])
    assert before < after < 3 * before
    assert double["reasons"] == [
        "job: broker.work.steps: 20000 → 40000",
        "job: broker.work.hours: 1.4 → 2.8",
    ]
    assert Decimal(double["head_monthly_usd"]) == 30 * after
    assert double["head"]["deadline_s"] == 12 * 3600
    assert (gone["head_cost_usd"], new["base_cost_usd"]) == (None, None)
    assert gone["base"] == {**double["base"]} == {**new["head"]}
    same = jobs["same"]
    assert Decimal(same["base_cost_usd"]) == Decimal(same["head_cost_usd"]) == before
    assert Decimal(found["total"]["base_cost_usd"]) == 2 * before  # of what was touched
    assert Decimal(found["total"]["head_cost_usd"]) == before + after
    assert found["base_commit"] == changed.git("rev-parse", "main").strip()
    assert found["prices"]["snapshot"]


def test_the_choice_is_plan_s(changed: Repository, home: Path) -> None:
    found = document(changed, home, "--base", "main")
    head = next(job["head"] for job in found["jobs"] if job["name"] == "double")
    script = Path(sys.executable).with_name("mlbroker")
    done = subprocess.run(
        [script, "plan", "double.yaml", "--json"],
        cwd=changed.root, env={"MLBROKER_HOME": str(home)}, capture_output=True, check=True,
    )  # fmt: skip
    choice = json.loads(done.stdout)["choice"]
    assert {key: head[key] for key in choice} == choice


def test_equal_inputs_give_equal_bytes(changed: Repository, home: Path) -> None:
    first, second = (
        check("--base", "main", "--json", cwd=changed.root, home=home,
              SOURCE_DATE_EPOCH="1793491200").stdout
        for _ in range(2)
    )  # fmt: skip
    assert first == second
    assert json.loads(first)["generated_at"] == "2026-11-01T00:00:00+00:00"
    for word in ("many", "-99999999999999999999"):
        done = check("--json", cwd=changed.root, home=home, SOURCE_DATE_EPOCH=word)
        assert done.code == 2
        assert "SOURCE_DATE_EPOCH" in done.stderr


@pytest.mark.parametrize(
    ("option", "figure"),
    [("--max-increase", None), ("--max-cost", "cost_usd"), ("--max-monthly", "monthly_usd"),
     ("--max-carbon", "carbon_kgco2e")],
)  # fmt: skip
def test_a_crossed_limit_is_exit_5_and_names_the_job(
    changed: Repository, home: Path, option: str, figure: str | None
) -> None:
    jobs = {job["name"]: job for job in document(changed, home, "--base", "main")["jobs"]}
    double, new = jobs["double"], jobs["new"]
    value = "10%"
    if figure is not None:
        pair = [job["head"]["carbon_kgco2e"] if figure.startswith("carbon")
                else Decimal(job[f"head_{figure}"]) for job in (double, new)]  # fmt: skip
        value = f"{(pair[0] + pair[1]) / 2:.6f}"  # between the doubled job's and the new one's
    done = check("--base", "main", option, value, cwd=changed.root, home=home)
    assert done.code == 5
    assert f"{option}: double.yaml (double)" in done.stderr
    assert f"{option}: new.yaml" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-increase", "150%"), ("--max-cost", "5"), ("--max-monthly", "500"),
     ("--max-carbon", "5")],
)  # fmt: skip
def test_what_is_within_its_limits_is_fine(
    changed: Repository, home: Path, option: str, value: str
) -> None:
    assert check("--base", "main", option, value, cwd=changed.root, home=home).code == 0


def test_what_a_job_costs_that_was_never_measured_is_unknown_and_no_limit_is_held_to_it(
    repository: Repository, home: Path
) -> None:
    repository.commit({"job.yaml": job_text("known")})
    repository.branch()
    repository.write("job.yaml", job_text("known", work="{steps: 9}"))
    repository.write("mlbroker-policy.yaml", "max_spend_per_run: 0.000001 USD\n")
    limits = ("--max-cost", "0.000001", "--max-increase", "1%", "--max-monthly", "0.000001")
    found = document(repository, home, "--base", "main", *limits)
    (job,) = found["jobs"]
    assert Decimal(job["base_cost_usd"]) > 0
    assert (job["head_cost_usd"], job["head_monthly_usd"]) == (None, None)
    assert job["head"]["basis"] == "unknown"
    assert found["crossed"] == []
    names = {item["limit"] for item in found["unjudged"]}
    assert names == {"max-cost", "max-increase", "max-monthly", "policy"}
    assert found["total"]["head_cost_usd"] == found["total"]["base_cost_usd"] == "0"
    told = check("--base", "main", *limits, "--format", "markdown", cwd=repository.root, home=home)
    assert told.code == 0
    assert "unknown until measured" in told.stdout
    assert "Limits that could not be judged" in told.stdout


def test_a_flag_says_what_jobs_take_whose_files_do_not(
    repository: Repository, home: Path, tmp_path: Path
) -> None:
    repository.commit({"job.yaml": job_text("quiet", work="{steps: 9}")})
    saved = tmp_path / "before.json"
    two, four = (("--takes", f"{hours}h@m5.xlarge") for hours in (2, 4))
    done = check(*two, "--json", "--output", str(saved), cwd=repository.root, home=home)
    assert done.code == 0, done.stderr
    (job,) = document(repository, home, *four, "--compare-to", str(saved))["jobs"]
    assert job["status"] == "changed"
    assert 1.5 < Decimal(job["head_cost_usd"]) / Decimal(job["base_cost_usd"]) < 2.5
    assert job["head"]["basis"] == "stated"
    done = check("--takes", "2h@m5.xlarg", cwd=repository.root, home=home)
    assert (done.code, "did you mean m5.xlarge?" in done.stderr) == (2, True)


def test_a_new_job_is_no_increase(repository: Repository, home: Path) -> None:
    repository.commit({"a.yaml": job_text("a")})
    repository.branch()
    repository.write("b.yaml", job_text("b"))
    done = check("--base", "main", "--max-increase", "1%", cwd=repository.root, home=home)
    assert done.code == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--max-increase", "10", "is not a percentage"), ("--max-cost", "10 EUR", "not in US dollars"),
     ("--max-monthly", "-1", "not an amount"), ("--max-carbon", "lots", "not a number"),
     ("--base", "mian", "there is no commit"), ("--format", "yaml", "")],
)  # fmt: skip
def test_bad_options_are_exit_2(
    changed: Repository, home: Path, option: str, value: str, said: str
) -> None:
    done = check("--base", "main", option, value, cwd=changed.root, home=home)
    assert done.code == 2
    assert said in done.stderr


def test_one_broken_file_among_many(changed: Repository, home: Path) -> None:
    changed.write("broken.yaml", job_text("broken", budgett=5))
    changed.write("mars.yaml", job_text("far", data="{at: mars/us-east-1}"))
    changed.write("latin.job.yaml", "run: café\n".encode("latin-1"))
    done = check("--base", "main", "--json", cwd=changed.root, home=home)
    assert done.code == 2
    assert "broken.yaml:8: broker.budgett: unknown key 'budgett'" in done.stderr
    assert "mars.yaml:8: broker.data.at: there is no cloud 'mars'" in done.stderr
    jobs = {job["path"]: job for job in json.loads(done.stdout)["jobs"]}
    assert jobs["mars.yaml"]["status"] == "broken"
    assert jobs["double.yaml"]["head_cost_usd"] is not None
    assert jobs["broken.yaml"]["error"]["where"] == "broken.yaml:8"
    assert "not UTF-8" in jobs["latin.job.yaml"]["error"]["what"]


def test_variables_of_the_call_hold_for_every_job(repository: Repository, home: Path) -> None:
    """`--env` fills in the workdir on both sides, and may give no secret."""
    text = job_text("a").replace("run:", "workdir: ${WHERE}\nenvs: {WHERE: nowhere}\nrun:")
    repository.commit({"a.yaml": text, "code/train.py": ""})
    repository.branch()
    repository.write("a.yaml", text.replace("steps: 20000", "steps: 40000"))
    call = ("--base", "main", "--json")
    done = check(*call, cwd=repository.root, home=home)
    assert (done.code, "no folder 'nowhere'" in done.stderr) == (2, True)
    done = check(*call, "--env", "WHERE=code", cwd=repository.root, home=home)
    (job,) = json.loads(done.stdout)["jobs"]
    assert (done.code, job["status"], job["head_cost_usd"] is None) == (0, "changed", False)
    done = check(*call, "--env", "WHERE", cwd=repository.root, home=home)
    assert (done.code, "the environment has no WHERE" in done.stderr) == (2, True)
    repository.write("a.yaml", text.replace("envs:", "secrets: {S: null}\nenvs:"))
    done = check(*call, "--env", "S=1", "--env", "WHERE=code", cwd=repository.root, home=home)
    assert (done.code, "S is a secret of the job" in done.stderr) == (2, True)


def test_a_job_that_fits_no_machine_is_exit_4(repository: Repository, home: Path) -> None:
    repository.commit({"a.yaml": job_text("a")})
    repository.branch()
    repository.write("a.yaml", job_text("a", 10**9, deadline="1m"))
    repository.write("late.yaml", job_text("late", deadline="2020-01-01T00:00Z"))
    found = document(repository, home, "--base", "main", code=4)
    a, late = found["jobs"]
    assert a["head"] is None
    assert a["head_cost_usd"] is None
    assert "a deadline of" in a["head_problem"]
    assert "has passed" in late["head_problem"]


def test_what_a_sparse_checkout_leaves_out_is_as_it_was(repository: Repository, home: Path) -> None:
    outside = job_text("b") + "workdir: code\n"
    files = {"a/job.yaml": job_text("a"), "b/job.yaml": outside, "b/code/train.py": "pass\n"}
    repository.commit({**files, "b/mlbroker-policy.yaml": "deny: {markets: [spot]}\n"})
    repository.branch()
    repository.commit({"b/job.yaml": outside.replace("steps: 20000", "steps: 40000")})
    repository.git("sparse-checkout", "set", "--cone", "a")
    repository.write("a/job.yaml", job_text("a", 40_000))
    found = document(repository, home, "--base", "main")
    jobs = {job["path"]: job for job in found["jobs"]}
    assert {path: job["status"] for path, job in jobs.items()} == {
        "a/job.yaml": "changed",
        "b/job.yaml": "changed",
    }
    assert jobs["b/job.yaml"]["reasons"] == ["job: broker.work.steps: 20000 → 40000"]
    # Its policy is not in the work tree either, and holds.
    markets = {path: job["head"]["market"] for path, job in jobs.items()}
    assert markets == {"a/job.yaml": "spot", "b/job.yaml": "on_demand"}
    (now,) = document(repository, home, "a", "--base", "main")["jobs"]
    assert now["path"] == "a/job.yaml"


def test_no_job_files(repository: Repository, home: Path) -> None:
    repository.commit({"readme.md": "x"})
    done = check("--base", "main", cwd=repository.root, home=home)
    assert done.code == 0
    assert "No job files." in done.stdout


def test_measurements_are_used_and_their_change_is_a_reason(
    repository: Repository, home: Path
) -> None:
    header = "job,config,time_s,price_per_hour_usd,cloud,instance_type,steps\n"

    def rows(step_s: float) -> str:
        return f"{header}a,x,{step_s},0.096,aws,m5.large,100\nother,x,1,0.096,aws,m5.large,100\n"

    repository.commit({"a.yaml": job_text("a"), "b.yaml": job_text("b"), "times.csv": rows(0.5)})
    repository.branch()
    repository.write("times.csv", rows(0.05))
    found = document(repository, home, "--base", "main", "--measure", "times.csv")
    a = next(job for job in found["jobs"] if job["name"] == "a")
    assert a["status"] == "changed"
    assert a["reasons"] == ["measurements: others are known now than at the base"]
    assert Decimal(a["head_cost_usd"]) < Decimal(a["base_cost_usd"])
    assert "measured" in a["head"]["evidence"] + a["head"]["basis"] + "measured on"


def test_the_policy_file_of_base_and_head(changed: Repository, home: Path) -> None:
    changed.write("mlbroker-policy.yaml", "deny: {markets: [spot]}\n")
    found = document(changed, home, "--base", "main")
    jobs = {job["name"]: job for job in found["jobs"]}
    same = jobs["same"]
    assert same["status"] == "changed"
    assert same["reasons"] == ["policy: another one holds now than at the base"]
    assert (same["base"]["market"], same["head"]["market"]) == ("spot", "on_demand")


def test_a_policy_file_that_is_a_link_holds_at_the_base_too(
    repository: Repository, home: Path
) -> None:
    link = repository.root / "mlbroker-policy.yaml"
    repository.write("central/rules.yaml", "deny: {markets: [spot]}\n")
    link.symlink_to("central/rules.yaml")
    repository.commit({"same.yaml": job_text("same")})
    repository.branch()
    repository.write("same.yaml", job_text("same", 30_000))
    (job,) = document(repository, home, "--base", "main")["jobs"]
    assert (job["base"]["market"], job["head"]["market"]) == ("on_demand", "on_demand")
    link.unlink()
    link.symlink_to("nowhere.yaml")
    done = check("--base", "main", cwd=repository.root, home=home)
    assert (done.code, "is a link to nowhere.yaml, which is not there" in done.stderr) == (2, True)
    link.unlink()
    repository.write("mlbroker-policy.yml", "deny: {markets: [spot]}\n")
    assert check(cwd=repository.root, home=home).code == 2


def test_a_job_that_the_policy_forbids_is_exit_5(changed: Repository, home: Path) -> None:
    changed.write("policies/strict.yaml", "max_spend_per_run: 0.01 USD\n")
    missing = check("--base", "main", "--policy", "nothing.yaml", cwd=changed.root, home=home)
    assert missing.code == 2
    done = check("--base", "main", "--policy", "policies/strict.yaml", cwd=changed.root, home=home)
    assert done.code == 5
    assert "--policy: double.yaml (double) is forbidden" in done.stderr
    assert "max_spend_per_run" in done.stderr


def test_against_a_saved_check(changed: Repository, home: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    done = check("--json", "--output", str(saved), cwd=changed.root, home=home)
    assert done.code == 0
    assert str(saved) in done.stderr
    unchanged = document(changed, home, "--compare-to", str(saved))
    assert {job["status"] for job in unchanged["jobs"]} == {"unchanged"}
    assert unchanged["jobs"][0]["base_cost_usd"] == unchanged["jobs"][0]["head_cost_usd"]
    changed.write("double.yaml", job_text("double", 80_000))
    (changed.root / "new.yaml").unlink()
    found = document(changed, home, "--compare-to", str(saved))
    assert {job["name"]: job["status"] for job in found["jobs"]} == {
        "double": "changed",
        "new": "removed",
        "same": "unchanged",
    }


def test_a_saved_check_keeps_what_it_says_of_a_choice(
    changed: Repository, home: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.json"
    check("--json", "--output", str(saved), cwd=changed.root, home=home)
    written = json.loads(saved.read_text())
    for job in written["jobs"]:
        job["head"] |= {"arch": "arm64", "max_price_per_hour_usd": "7"}
    saved.write_text(json.dumps(written))
    found = document(changed, home, "--compare-to", str(saved))
    kept = [(job["base"]["arch"], job["base"]["max_price_per_hour_usd"]) for job in found["jobs"]]
    assert set(kept) == {("arm64", "7")}


def test_other_prices_are_a_reason(changed: Repository, home: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    check("--json", "--output", str(saved), cwd=changed.root, home=home)
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "cloud,region,instance_type,market,price_per_hour_usd,as_of,source\n"
        "aws,us-east-1,m5.2xlarge,on_demand,9.99,2026-11-01,mine\n"
    )
    found = document(changed, home, "--compare-to", str(saved), "--prices", str(prices))
    double = found["jobs"][0]
    assert double["status"] == "changed"
    assert double["head"]["price_per_hour_usd"] == "9.99"
    assert any(reason.startswith("prices: ") for reason in double["reasons"])


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"schema": "mlbroker.plan/1"}', "[" * 100_000,
                '{"schema": "mlbroker.check/1"}',
                '{"schema": "mlbroker.check/1", "prices": {}, "jobs": [1]}',
                '{"schema": "mlbroker.check/1", "prices": {"snapshot": "x"},'
                ' "jobs": [{"path": "a", "name": "b", "head_inputs": {"job": 1}}]}']
)  # fmt: skip
def test_a_damaged_saved_check(
    changed: Repository, home: Path, tmp_path: Path, content: str
) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(content)
    done = check("--compare-to", str(saved), cwd=changed.root, home=home)
    assert done.code == 2
    assert "mlbroker check --format json" in done.stderr


def test_base_and_saved_exclude_each_other(changed: Repository, home: Path) -> None:
    done = check("--base", "main", "--compare-to", "x.json", cwd=changed.root, home=home)
    assert done.code == 2


def test_a_repository_elsewhere_is_found_by_its_paths(
    changed: Repository, home: Path, tmp_path: Path
) -> None:
    done = check(str(changed.root), "--base", "main", cwd=tmp_path, home=home)
    assert done.code == 0
    assert "double.yaml" in done.stdout


def test_outside_a_repository(tmp_path: Path, home: Path) -> None:
    (tmp_path / "job.yaml").write_text(job_text("a"))
    assert check(cwd=tmp_path, home=home).code == 0
    done = check("--base", "main", cwd=tmp_path, home=home)
    assert done.code == 2
    assert "not in a git repository" in done.stderr


def with_code(name: str, workdir: str, **broker: object) -> str:
    return job_text(name, **broker).replace("run:", f"workdir: {workdir}\nrun:")


@pytest.mark.parametrize("many", [False, True])
def test_a_jobs_code_that_changed_is_a_change_of_the_job(
    repository: Repository, home: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Whether a few unchanged jobs are priced beside it, or there are too many to be read."""
    repository.commit({
        "jobs/mine.yaml": with_code("mine", "../mine"), "mine/lib/train.py": "rate = 1\n",
        "jobs/yours.yaml": with_code("yours", "../yours"), "yours/train.py": "rate = 1\n",
        "jobs/new.yaml": with_code("new", "../new", work=None), "new/a.sh": "sleep 1\n",
        "mine/README.md": "", "mine/.venv/x.py": "", "build.py": "",
    })  # fmt: skip
    repository.branch()
    repository.write("mine/lib/train.py", "rate = 2  # faster\n")
    repository.write("yours/train.py", "rate = 1  # as it was\n")
    repository.write("new/b.py", "print()\n")
    for path in ("mine/README.md", "mine/.venv/x.py", "build.py"):
        repository.write(path, "other = 1\n")
    if many:
        monkeypatch.setattr("mlbroker.broker.ci.session.FEW_UNCHANGED", 0)
    jobs = {job["name"]: job for job in document(repository, home, "--base", "main")["jobs"]}
    assert {name: (job["status"], job["reasons"]) for name, job in jobs.items()} == {
        "mine": (
            "changed",
            ["code: the job's code changed; its measurements may not hold: lib/train.py"],
        ),
        "yours": ("unchanged", []),
        "new": ("changed", ["code: the job's code changed: b.py"]),
    }
    assert jobs["mine"]["base_cost_usd"] == jobs["mine"]["head_cost_usd"]
    assert (jobs["yours"]["head"] is None) == many
    for words in ([], ["--format", "markdown"]):
        shown = check("--base", "main", *words, cwd=repository.root, home=home)
        assert "its measurements may not hold" in html.unescape(shown.stdout)
        assert "No change" not in shown.stdout
