"""`mlbroker submit` and `mlbroker queue`, at the terminal, on a node that is this machine."""

import json
import os
import signal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from tests.support.mlbroker import Cli, processes_with, wait_for

NODE = """
nodes:
  - name: box
    count: 1
    hardware: {vcpus: 2, memory_gib: 8}
    price_per_hour_usd: 1
"""
CAPPED = {"budget": "1 USD"}
SCHEMA = json.loads(files("mlbroker.broker").joinpath("schemas/queue.json").read_text())


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.home.mkdir(mode=0o700)
    (cli.home / "nodes.yaml").write_text(NODE)
    return cli


def submit(cli: Cli, job: Path, *more: object) -> str:
    """The run's id."""
    answer = cli("submit", job, "--on", "box", "--yes", "--json", *more)
    assert answer.returncode == 0, answer.stderr
    run_id: str = json.loads(answer.stdout)["run_id"]
    return run_id


def busy(cli: Cli, gate: Path, **broker: Any) -> str:
    """A run that has the only place until `gate` is there; it goes on from its checkpoint."""
    work = f"""
        mkdir -p ckpt; echo "from $(cat ckpt/n 2>/dev/null || echo 0)"; echo 41 > ckpt/n
        while [ ! -e {gate} ]; do sleep 0.1; done"""
    run_id = submit(cli, cli.job(work, "busy", broker={**CAPPED, **broker}), "--takes", "10h@box")
    wait_for(lambda: row(cli, run_id)["state"] == "running")
    return run_id


def row(cli: Cli, run_id: str) -> dict[str, Any]:
    return next(each for each in cli.ledger() if each["run_id"] == run_id)


def waiting(cli: Cli) -> list[dict[str, Any]]:
    answer = cli("queue", "--json")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    validate(document, SCHEMA)
    found: list[dict[str, Any]] = document["waiting"]
    return found


def settled(cli: Cli, count: int) -> list[dict[str, Any]]:
    rows = wait_for(
        lambda: [r for r in cli.ledger() if r["state"] == "settled"][count - 1 :] and cli.ledger(),
        tell=lambda: cli("ps", "--all").stdout,
    )
    return list(rows)


def test_one_place_takes_many_runs_one_after_the_other_in_their_order(cli: Cli) -> None:
    gate = cli.folder / "gate"
    busy(cli, gate)
    job = cli.job("true", "next", broker=CAPPED)
    for _ in range(5):
        answer = cli("run", job, "--on", "box", "--yes", "--detach")
        assert answer.returncode == 0, answer.stderr
    gate.touch()
    rows = settled(cli, 6)
    assert [each["outcome"] for each in rows] == ["succeeded"] * 6
    assert [each["attempts"] for each in rows] == [1] * 6
    starts = [each["started_at"] for each in rows]
    ends = [each["ended_at"] for each in rows]
    assert starts == sorted(starts)
    assert all(end <= start for end, start in zip(ends[:-1], starts[1:], strict=True))


def test_a_client_that_died_in_the_line_holds_up_nobody_for_long(cli: Cli) -> None:
    gate = cli.folder / "gate"
    busy(cli, gate)
    next_ = cli.job("true", "next", broker=CAPPED)
    dead = cli.start("run", next_, "--on", "box", "--yes")
    wait_for(lambda: len(waiting(cli)) == 1)
    dead.kill()
    dead.communicate()
    gone = "its client is gone or suspended: mlbroker reconcile"
    wait_for(lambda: waiting(cli)[0]["reason"] == gone)
    assert "queued (unattended)" in cli("ps").stdout
    submit(cli, next_)
    gate.touch()
    rows = settled(cli, 2)
    assert [each["state"] for each in rows] == ["settled", "queued", "settled"]
    assert cli("reconcile").returncode == 0
    assert settled(cli, 3)[1]["outcome"] == "abandoned"


def test_a_run_worth_more_takes_the_place_and_the_other_goes_on_from_its_checkpoint(
    cli: Cli,
) -> None:
    gate = cli.folder / "gate"
    long = busy(cli, gate, checkpoint={"path": "ckpt/", "every": "1s"})
    short = submit(
        cli, cli.job("true", "short", broker=CAPPED), "--takes", "1m@box", "--value-of-time",
        "50 USD/h", "--deadline", "20m",
    )  # fmt: skip
    wait_for(
        lambda: row(cli, short)["outcome"] == "succeeded", tell=lambda: cli("ps", "--all").stdout
    )
    assert row(cli, long)["outcome"] is None
    gate.touch()
    assert [each["outcome"] for each in settled(cli, 2)] == ["succeeded", "succeeded"]
    assert row(cli, long)["attempts"] == 2
    said = [line for line in cli("logs", long).stdout.splitlines() if line.startswith("from")]
    assert said == ["from 0", "from 41"]


def test_people_see_why_and_change_the_order(cli: Cli) -> None:
    gate = cli.folder / "gate"
    first = busy(cli, gate)
    job = cli.job("true", "next", broker=CAPPED)
    a, b, c = (submit(cli, job, "--takes", "30m@box", "--deadline", "90h") for _ in range(3))
    assert [each["run_id"] for each in waiting(cli)] == [a, b, c]
    assert cli("queue", "hold", a).returncode == 0
    assert cli("queue", "top", c).returncode == 0
    assert [(e["run_id"], e["position"]) for e in waiting(cli)] == [(c, 1), (b, 2), (a, None)]
    told = cli("queue", "why", b).stdout
    assert f"Run {b} is number 2 of 3: " in told
    assert f"before it: {c} next" in told
    assert f"running: {first} busy" in told
    assert "on hold" in cli("queue", "why", a).stdout
    assert all(run_id in cli("queue").stdout for run_id in (a, b, c))
    planned = cli("plan", job, "--takes", "5m@box", "--budget", "5", "--cloud", "local")
    assert "An hour on box costs those who wait for it 2 USD, beside" in planned.stderr
    refused = cli("queue", "hold", first)
    assert (refused.returncode, "does not wait" in refused.stderr) == (2, True)
    assert cli("queue", "release", a).returncode == 0
    assert cli("stop", a, b, c).returncode == 0
    gate.touch()
    settled(cli, 4)
    assert "Nobody waits" in cli("queue").stderr


def test_a_node_that_is_gone_or_unreadable_is_waited_for(cli: Cli) -> None:
    gate = cli.folder / "gate"
    busy(cli, gate)
    job = cli.job("true", "next", broker=CAPPED)
    a, b = submit(cli, job), submit(cli, job)
    nodes = cli.home / "nodes.yaml"
    nodes.write_text("")
    complaints = cli.home / "runs" / a / "carrier.log"
    wait_for(lambda: "nodes" in complaints.read_text())
    nodes.write_text(NODE.replace("box", "other"))
    wait_for(lambda: "box is no node of the nodes file any more" in complaints.read_text())
    gate.touch()
    settled(cli, 1)
    assert [row(cli, run_id)["state"] for run_id in (a, b)] == ["queued", "queued"]
    assert "no node of the nodes file" in cli("queue", "why", a).stdout
    nodes.write_text(NODE)
    assert [each["outcome"] for each in settled(cli, 3)] == ["succeeded"] * 3


def test_who_nobody_carries_is_not_asked_to_yield(cli: Cli) -> None:
    gate = cli.folder / "gate"
    long = busy(cli, gate, checkpoint={"path": "ckpt/", "every": "1s"})
    for process in processes_with(f"background\0{long}"):
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: "unattended" in cli("ps").stdout)
    short = submit(
        cli, cli.job("true", "short", broker=CAPPED), "--takes", "1m@box", "--value-of-time",
        "50 USD/h",
    )  # fmt: skip
    wait_for(lambda: "it is the next" in cli("queue", "why", short).stdout)
    assert cli("reconcile").returncode == 0
    assert row(cli, long)["state"] == "running"
    gate.touch()
    wait_for(lambda: row(cli, short)["outcome"] == "succeeded")
    # The watchdog of its machine calls for the books.
    wait_for(lambda: row(cli, long)["outcome"] == "succeeded")


def test_waiting_runs_leave_the_caps_to_others(cli: Cli) -> None:
    (cli.folder / "mlbroker-policy.yaml").write_text("max_spend_per_month: 1.5 USD\n")
    gate = cli.folder / "gate"
    busy(cli, gate)
    job = cli.job("true", "next", broker=CAPPED)
    # Each may cost 1 USD: of what is held now, and of what they would hold, none is refused.
    for _ in range(4):
        submit(cli, job)
    too_much = cli("submit", job, "--on", "box", "--yes", "--budget", "1.6")
    assert (too_much.returncode, "max_spend_per_month" in too_much.stderr) == (3, True)
    assert sorted(each["reserved_usd"] != "0" for each in cli.ledger()) == [False] * 4 + [True]
    gate.touch()
    assert [each["outcome"] for each in settled(cli, 5)] == ["succeeded"] * 5


def test_what_only_a_cap_or_the_policy_file_holds_is_said_to_be_held_by_it(cli: Cli) -> None:
    policy = cli.folder / "mlbroker-policy.yaml"
    policy.write_text("max_spend_per_month: 1.5 USD\n")
    gate = cli.folder / "gate"
    busy(cli, gate)
    held = submit(cli, cli.job("true", "held", broker=CAPPED))
    (cli.home / "nodes.yaml").write_text(NODE.replace("count: 1", "count: 2"))
    told = "its turn, but it must not start: max_spend_per_month in mlbroker-policy.yaml: 1 USD on"
    wait_for(lambda: waiting(cli)[0]["reason"].startswith(told), tell=cli("queue").stdout.strip)
    assert waiting(cli)[0]["start_p50_at"] is None
    policy.write_text("max_spend_per_month: [\n")
    assert f"must not start: {policy}" in cli("queue", "why", held).stdout
    policy.write_text("max_spend_per_month: 9 USD\n")
    wait_for(lambda: row(cli, held)["outcome"] == "succeeded")
    gate.touch()
    settled(cli, 2)


def test_a_stop_of_one_who_waits_suspended_says_what_it_does(cli: Cli) -> None:
    gate = cli.folder / "gate"
    busy(cli, gate)
    still = submit(cli, cli.job("true", "still", broker=CAPPED))
    lock = cli.home / "runs" / still / "lock"
    (process,) = wait_for(
        lambda: [p for p in processes_with(f"background\0{still}") if str(p) in lock.read_text()]
    )
    os.kill(process, signal.SIGSTOP)
    told = cli("stop", still)
    assert (told.returncode, "it waited and will not start" in told.stderr) == (0, True)
    assert "the job is ended" not in told.stderr
    assert waiting(cli)[0]["position"] is None
    os.kill(process, signal.SIGCONT)
    wait_for(lambda: row(cli, still)["outcome"] == "stopped")
    gate.touch()
    settled(cli, 2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--value-of-time", "-3"], "--value-of-time"),
        (["--value-of-time", "inf"], "--value-of-time"),
        (["--value-of-time", "3 EUR/h"], "USD"),
        (["--value-of-time", "600"], "max_spend_per_month"),
        (["--team", "vison"], "vision"),
        (["--team", "vision"], "tester is not in team 'vision'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_waits(
    cli: Cli, options: list[str], told: str
) -> None:
    policy = "max_spend_per_month: 500 USD\nteams: {vision: [ada]}\n"
    (cli.folder / "mlbroker-policy.yaml").write_text(policy)
    answer = cli("submit", cli.job("true", broker=CAPPED), "--on", "box", "--yes", *options)
    assert (answer.returncode, told in answer.stderr) == (2, True), answer.stderr
    assert "Traceback" not in answer.stderr
    assert cli.ledger() == []


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"team": "vison"}, "there is no team 'vison'"),
        ({"team": "vision"}, "tester is not in team 'vision'"),
        ({"value_of_time": "12 USD/h"}, "12 USD/h is more than max_spend_per_month lets pass of"),
        ({"value_of_time": "-1"}, "broker.queue.value_of_time: '-1' is not an amount of money"),
        ({"value_of_tim": "1"}, "did you mean 'value_of_time'?"),
        ({"team": ["ops"]}, "broker.queue.team: must be a single value"),
    ],
)
def test_what_the_job_file_says_of_the_queue_is_judged_alike(
    cli: Cli, terms: dict[str, object], told: str
) -> None:
    policy = "teams: {vision: [ada], ops: {users: [tester], max_spend_per_month: 10 USD}}\n"
    (cli.folder / "mlbroker-policy.yaml").write_text(policy)
    job = cli.job("true", broker={**CAPPED, "queue": terms})
    for command in ("submit", "run"):
        answer = cli(command, job, "--on", "box", "--yes")
        assert (answer.returncode, told in answer.stderr) == (2, True), answer.stderr
        assert f"{job}:1" in answer.stderr
    assert cli.ledger() == []


def test_terms_are_the_options_the_job_files_and_the_policy_files_in_this_order(cli: Cli) -> None:
    policy = cli.folder / "mlbroker-policy.yaml"
    policy.write_text("teams: {ops: {users: [tester], share: 50%}}\nqueue: {policy: fifo}\n")
    gate = cli.folder / "gate"
    busy(cli, gate)
    terms = {"queue": {"value_of_time": "3 USD/h", "team": "ops"}}
    job = cli.job("true", "next", broker={**CAPPED, **terms})
    submit(cli, job)
    submit(cli, job, "--value-of-time", "7")
    told = json.loads(cli("queue", "--json").stdout)
    assert told["policy"] == "fifo"
    # Dearer waiting does not come first where the policy is who came first.
    assert [e["value_usd_per_h"] for e in told["waiting"]] == ["3", "7"]
    assert {e["team"] for e in told["waiting"]} == {"ops"}
    policy.write_text("queue: {policy: auto}\n")
    other = cli("submit", cli.job("true", broker=CAPPED), "--on", "box", "--yes")
    assert "under other rules of the queue (fifo); from now on those of this run" in other.stderr
    told = json.loads(cli("queue", "--json").stdout)
    assert told["policy"] == "auto"
    assert [e["value_usd_per_h"] for e in told["waiting"]] == ["7", "3", "1"]
    gate.touch()
    settled(cli, 4)


def test_a_months_cap_of_a_team_is_exact_and_nobody_elses(cli: Cli) -> None:
    policy = "teams: {ops: {users: [tester, eve], max_spend_per_month: 1.5 USD}}\n"
    (cli.folder / "mlbroker-policy.yaml").write_text(policy)
    gate = cli.folder / "gate"
    busy(cli, gate)
    job = cli.job("true", "next", broker=CAPPED)
    for user, code in (("eve", 3), ("ada", 0)):
        answer = cli("run", job, "--on", "local", "--local-price", "1", "--yes", MLBROKER_USER=user)
        assert answer.returncode == code, answer.stderr
        assert (code == 0) != ("pass the 1.5 USD of team ops" in answer.stderr)
    gate.touch()
    settled(cli, 2)


def test_a_gang_takes_its_places_together_and_what_is_free_is_used_meanwhile(cli: Cli) -> None:
    gpus = NODE.replace(
        "vcpus: 2, memory_gib: 8", "vcpus: 1, memory_gib: 2, gpu: L4, gpu_memory_gib: 24"
    )
    (cli.home / "nodes.yaml").write_text(gpus.replace("count: 1", "count: 3"))
    gate = cli.folder / "gate"
    work = f"echo gpus $CUDA_VISIBLE_DEVICES; while [ ! -e {gate} ]; do sleep 0.1; done"
    pair = {"resources": {"accelerators": "L4:2"}, "broker": CAPPED}
    first = submit(cli, cli.job(work, "first", **pair))
    wait_for(lambda: row(cli, first)["state"] == "running")
    second = submit(cli, cli.job(work, "second", **pair))
    wait_for(lambda: [e["gang"] for e in waiting(cli)] == [2])
    small = submit(cli, cli.job("echo gpus $CUDA_VISIBLE_DEVICES", "small", broker=CAPPED))
    wait_for(lambda: row(cli, small)["outcome"] == "succeeded", tell=cli("queue").stdout.strip)
    assert row(cli, second)["state"] == "queued"
    order = json.loads((cli.home / "runs" / first / "order.json").read_text())
    assert order["candidates"][0]["bill"]["price_per_hour_usd"] == "2"
    gate.touch()
    settled(cli, 3)
    # Of three GPUs two have what the first had, and the third is all that was left.
    assert [cli("logs", run).stdout.split()[1] for run in (first, small)] == ["0,1", "2"]
    assert cli("logs", second).stdout.split()[1] == "0,1"
    too_many = cli.job("true", resources={"accelerators": "L4:4"}, broker=CAPPED)
    answer = cli("submit", too_many, "--on", "box", "--yes")
    assert (answer.returncode, "At most 3 vCPUs, 6 GiB, 3 L4 fit there" in answer.stderr) == (
        4,
        True,
    )
    machines = cli.job("true", num_nodes=2, broker=CAPPED)
    answer = cli("submit", machines, "--on", "box", "--yes")
    assert (answer.returncode, "a run has one of yours" in answer.stderr) == (4, True)
