"""`mlbroker tune backtest` as a user calls it."""

import csv
import gzip
from pathlib import Path

import pandas as pd
import pytest
from tests.support.backtest_cli import BacktestCli
from tests.support.curves import curves

from mlbroker.policies.tuning import POLICIES

CLI = BacktestCli("tune", "tune-backtest.json")
run, told, refused = CLI.run, CLI.told, CLI.refused
HEAD = "task,config,epoch_s,acc_1,acc_2"
STEPS = 9


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three tasks with the same plateaus, each with noise of its own; 120 configurations."""
    path = tmp_path / "curves.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["task", "config", "epoch_s", *(f"acc_{n}" for n in range(1, STEPS + 1))])
        for number, task in enumerate("abc"):
            made = curves(1, steps=STEPS)
            for at, config in enumerate(made.configs):
                noise = 0.02 * ((at * (7 + number)) % 11) / 11
                row = [f"{score + noise:.5f}" for score in made.scores[at]]
                out.writerow([task, config, f"{made.step_s[at]:.3f}", *row])
    return path


@pytest.fixture
def configs(table: Path) -> Path:
    """The plateau is a function of LR; DEPTH and OPT do nothing."""
    path = table.with_name("configs.csv")
    made = curves(1, steps=STEPS)
    rows = [
        f"{config},{10 ** -(5 * (1 - made.scores[at][-1])):.8f},{at % 4},{'ab'[at % 2]}"
        for at, config in enumerate(made.configs)
    ]
    path.write_text("\n".join(["config,LR,DEPTH,OPT", *rows]) + "\n")
    return path


def write(folder: Path, *lines: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_policy_is_played_and_shown_on_eighty_columns(table: Path) -> None:
    costs = {}
    for policy in POLICIES:
        document = told(table, "--policy", policy, "--repeats", 3)
        assert [(each["task"], each["repeat"]) for each in document["tasks"]] == [
            (task, repeat) for task in "abc" for repeat in range(3)
        ]
        for key in ("cost_ratio", "time_ratio", "missed"):
            mean = sum(each[key] for each in document["tasks"]) / 9
            assert document["summary"][key] == pytest.approx(mean, rel=1e-4)
        costs[policy] = document["summary"]["cost_ratio"]
    assert costs["auto"] < costs["random-full"]
    shown = run(table)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["task", *"abc", "mean"]
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "acc, maximize; policy auto, searcher random, 8 workers, seed 0" in shown.stderr
    assert "drawn at random" in shown.stderr


def test_the_past_of_other_tasks_saves_more(table: Path) -> None:
    cold, warm = told(table, "--repeats", 3), told(table, "--repeats", 3, "--warm")
    assert warm["summary"]["cost_ratio"] < cold["summary"]["cost_ratio"] / 2
    assert warm["warm"]


def test_the_seed_and_the_workers_count(table: Path) -> None:
    first = told(table, "--seed", 1)
    assert first == told(table, "--seed", 1)
    assert first["tasks"] != told(table, "--seed", 2)["tasks"]
    one = told(table, "--workers", 1, "--policy", "random-full")["tasks"]
    assert all(each["cost_ratio"] == each["time_ratio"] for each in one)


def test_hyperparameters_lead_the_searcher(table: Path, configs: Path) -> None:
    pytest.importorskip("optuna")
    led = told(table, "--configs", configs, "--repeats", 2)
    assert led["searcher"] == "tpe"
    blind = told(table, "--configs", configs, "--searcher", "random", "--repeats", 2)
    assert blind["searcher"] == "random"
    assert led["summary"]["cost_ratio"] < blind["summary"]["cost_ratio"]
    assert told(table, "--configs", configs, "--searcher", "grid")["searcher"] == "grid"
    assert told(table, "--configs", configs, "--policy", "random-full")["searcher"] == "random"


def test_hyperparameters_may_stand_among_the_curves(table: Path, configs: Path) -> None:
    pytest.importorskip("optuna")
    joined = pd.read_csv(table).merge(pd.read_csv(configs), on="config")
    path = table.with_name("joined.csv")
    joined.to_csv(path, index=False)
    both = told(path), told(table, "--configs", configs)
    assert both[0]["searcher"] == "tpe"
    assert both[0]["tasks"] == both[1]["tasks"]


def test_gzip_and_parquet_tell_the_same(table: Path) -> None:
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    parquet = table.with_suffix(".parquet")
    pd.read_csv(table).to_parquet(parquet)
    assert told(packed) == told(table) == told(parquet)


def test_a_loss_is_made_small_and_its_step_zero_is_free(tmp_path: Path) -> None:
    rows = [f"a,{n},{1 - n / 100},{0.9 - n / 100}" for n in range(70)]
    path = write(tmp_path, "task,config,loss_0,loss_1", *rows)
    result = run(path)
    assert "no column epoch_s: every step is taken for one second" in result.stderr
    document = told(path, "--workers", 1)
    assert document["goal"] == "minimize"
    (only,) = document["tasks"]
    assert only["target"] == pytest.approx(0.21)
    assert only["reference_trials"] == 64
    # One step each: what it cost is how many were tried.
    assert only["cost_ratio"] == pytest.approx(only["trials"] / 64)


def test_the_target_is_the_median_of_what_the_draws_reach(tmp_path: Path) -> None:
    rows = [f"a,{n},1,0,{n}" for n in range(128)]
    document = told(write(tmp_path, HEAD, *rows))
    # Half of all are drawn: the best is among them in one case of two.
    assert document["tasks"][0]["target"] == 127


def test_few_configurations_are_held_against_as_many(tmp_path: Path) -> None:
    rows = [f"a,{n},1,0,{n}" for n in range(10)]
    path = write(tmp_path, HEAD, *rows)
    assert "1 task with fewer than 64 configurations, 10 at the least" in run(path).stderr
    (only,) = told(path)["tasks"]
    assert only["reference_trials"] == 10
    assert only["target"] == 9


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (",x,1,0.5,0.6", "task"),
        ("a,,1,0.5,0.6", "config"),
        ("a,x,0,0.5,0.6", "epoch_s"),
        ("a,x,-1,0.5,0.6", "epoch_s"),
        ("a,x,nan,0.5,0.6", "epoch_s"),
        ("a,x,,0.5,0.6", "epoch_s"),
        ("a,x,1,good,0.6", "acc_1"),
        ("a,x,1,0.5,inf", "acc_2"),
        ("a,x,1,0.5", "acc_2"),
        ("a,0,1,0.5,0.6", "config"),
    ],
)
def test_a_bad_cell_is_named_by_file_line_and_column(tmp_path: Path, row: str, column: str) -> None:
    path = write(tmp_path, HEAD, "a,0,1,0.1,0.2", row)
    assert refused(path).where == f"{path}, line 3, column {column}"


def test_a_trial_that_diverged_is_the_worst(tmp_path: Path) -> None:
    rows = [f"a,{n},1,0.5,{'' if n % 2 else 'nan'}" for n in range(40)]
    rows += [f"a,b{n},1,0.1,{n / 100}" for n in range(40)]
    (only,) = told(write(tmp_path, HEAD, *rows))["tasks"]
    assert only["target"] == pytest.approx(0.39)
    every = write(tmp_path, HEAD, "a,0,1,,nan", "a,1,1,nan,")
    assert "no configuration has a number" in str(refused(every))
    most = write(tmp_path, HEAD, *(f"a,{n},1,0.5,{n if n < 1 else ''}" for n in range(200)))
    assert "most configurations end without a number" in str(refused(most))


def test_what_is_probably_not_meant_is_said(tmp_path: Path) -> None:
    falling = write(tmp_path, HEAD, *(f"a,{n},1,0.9,{n / 100}" for n in range(64)))
    assert "every configuration ends worse than it began: is --goal right?" in run(falling).stderr
    assert "is --goal right?" not in run(falling, "--goal", "minimize").stderr
    flat = write(tmp_path, HEAD, *(f"a,{n},1,0.5,0.5" for n in range(64)))
    assert "1 task with one and the same metric everywhere" in run(flat).stderr


def test_tables_that_cannot_be(table: Path, tmp_path: Path) -> None:
    assert "has no column config" in str(refused(write(tmp_path, "task,acc_1,acc_2", "a,1,2")))
    assert "has no metric" in str(refused(write(tmp_path, "task,config,epoch_s", "a,x,1")))
    assert "has no metric" in str(refused(write(tmp_path, "task,config,acc_1", "a,x,1")))
    assert "no metric 'loss'" in str(refused(table, "--metric", "loss"))
    holed = write(tmp_path, "task,config,acc_1,acc_3", "a,x,1,2")
    assert "has no column acc_2" in str(refused(holed))
    late = write(tmp_path, "task,config,acc_5,acc_6", "a,x,1,2")
    assert "has no column acc_1" in str(refused(late))
    twice = write(tmp_path, "task,config,acc_1,acc_2,acc_1", "a,x,1,2,3")
    assert "two columns 'acc_1'" in str(refused(twice))
    two = write(tmp_path, "task,config,acc_1,acc_2,loss_1,loss_2", "a,x,1,2,3,4", "a,y,2,3,1,0")
    assert "several metrics: acc, loss" in str(refused(two))
    assert told(two, "--metric", "loss")["goal"] == "minimize"
    strange = write(tmp_path, "task,config,q_1,q_2", "a,x,1,2")
    assert "is more or less 'q' better?" in str(refused(strange))
    assert told(strange, "--goal", "maximize")["metric"] == "q"
    assert "no learning curves" in str(refused(write(tmp_path, HEAD)))
    assert "no such file" in str(refused(tmp_path / "none.csv"))
    other = write(tmp_path, f"{HEAD},LR", "a,x,1,0,1,0.1", "b,x,1,0,1,0.2")
    assert "has other values elsewhere" in str(refused(other))


def test_options_that_cannot_be(table: Path, tmp_path: Path) -> None:
    assert refused(table, "--policy", "rndom-full").hint == "did you mean random-full?"
    assert refused(table, "--searcher", "tpa").hint == "did you mean tpe?"
    assert refused(table, "--goal", "maximise").hint == "did you mean maximize?"
    assert refused(table, "--workers", 0).where == "--workers"
    assert "needs hyperparameters" in str(refused(table, "--searcher", "tpe"))
    lone = write(tmp_path, HEAD, "a,x,1,0,1", "b,y,1,0,1")
    assert "no other task has configurations of task 'a'" in str(refused(lone, "--warm"))
    lacking = write(tmp_path, "config,LR", "c0,0.1", name="c.csv")
    assert "lacks config 'c1'" in str(refused(table, "--configs", lacking))
    bare = write(tmp_path, "config", "c0", name="d.csv")
    assert "no hyperparameters beside config" in str(refused(table, "--configs", bare))
    again = write(tmp_path, "config,LR", "c0,0.1", "c0,0.2", name="e.csv")
    assert refused(table, "--configs", again).where == f"{again}, line 3, column config"
