"""`mlbroker service` on an engine that really starts replicas, with a surge that really comes."""

import json
import os
import signal
import subprocess
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
from tests.support.mlbroker import Cli, wait_for
from tests.support.service_engine import ServiceEngine, service_engine

# A tenth of a dollar a second for a replica; the month is longer than the test.
PRICE, CAP_USD, MONTH = "360", Decimal(70), "10m"
SCHEMAS = Path(__file__).parents[2] / "broker" / "schemas"


def job_of(cli: Cli, budget: dict[str, str], least: int = 1) -> Path:
    return cli.job(
        "python serve.py",
        "tiny",
        service={
            "readiness_probe": "/health",
            "replica_policy": {
                "min_replicas": least, "max_replicas": 8, "target_qps_per_replica": 15,
            },
            "ports": 8080,
        },
        broker={"service": {"budget": budget}},
    )  # fmt: skip


def guard_of(cli: Cli, engine: ServiceEngine, *options: str) -> list[str]:
    job = job_of(cli, {"month": f"{CAP_USD} USD"})
    return [
        "service", "guard", str(job), "--engine", engine.address, "--price-per-hour-usd", PRICE,
        "--month-length", MONTH, "--lease", "5s", *options,
    ]  # fmt: skip


def looked(guard: "subprocess.Popen[str]") -> dict[str, Any]:
    assert guard.stdout is not None
    line = guard.stdout.readline()
    assert line, guard.communicate()
    told: dict[str, Any] = json.loads(line)
    return told


def usd_ran(engine: ServiceEngine) -> Decimal:
    return Decimal(engine.told()["replica_s"]) / 10


def status_of(cli: Cli) -> dict[str, Any]:
    answer = cli("service", "status", "--json")
    assert answer.returncode == 0, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout)
    jsonschema.validate(told, json.loads((SCHEMAS / "service-status.json").read_text()))
    return told


def test_a_surge_is_capped_and_a_killed_guard_leaves_the_safe_ceiling(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with service_engine(tmp_path, "--target-rps", "15", "--downscale-s", "600") as engine:
        guard = cli.start(*guard_of(cli, engine, "--json"))
        assert looked(guard)["most"] >= 1
        wait_for(lambda: engine.told()["ready"])

        second = cli(*guard_of(cli, engine))
        assert second.returncode == 3, second.stderr
        assert "has a guard already: process" in second.stderr

        answered = []
        surge = Thread(target=lambda: answered.append(engine.traffic(90, 12)))
        surge.start()
        wait_for(lambda: looked(guard)["running"] > 1)
        os.kill(guard.pid, signal.SIGKILL)
        guard.communicate()
        # Nobody tells it: the lease ends.
        wait_for(lambda: engine.told()["most"] == 1 and engine.told()["running"] == 1)
        surge.join()
        assert answered[0][200] > 0
        assert answered[0][429] > answered[0][200] / 4, "above the cap people are turned away"

        dead = status_of(cli)
        assert dead["guard"] is None
        assert "There is no guard" in cli("service", "status", "tiny").stdout
        before = Decimal(dead["budgets"]["month"]["spent_usd"])
        assert before <= usd_ran(engine)

        once = cli(*guard_of(cli, engine, "--once", "--json"))
        assert once.returncode == 0, once.stderr
        spent = Decimal(json.loads(once.stdout)["budgets"]["month"]["spent_usd"])
        ran = usd_ran(engine)
        # Replicas that run already when the first guard looks are paid for from then on.
        assert before < spent <= ran <= CAP_USD

        stopped = cli("service", "stop", "tiny")
        assert stopped.returncode == 0, stopped.stderr
        assert "at most 1 replica" in stopped.stderr
        assert engine.told()["most"] == 1
        rows = cli.ledger()
        assert {row["state"] for row in rows} == {"settled"}
        assert sum(Decimal(row["spent_usd"]) for row in rows) <= CAP_USD
        assert cli("ledger", "verify").returncode == 0


def test_ctrl_c_and_stop_end_a_guard_in_order(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with service_engine(tmp_path, "--target-rps", "15") as engine:
        for number in (signal.SIGINT, signal.SIGTERM):
            guard = cli.start(*guard_of(cli, engine))
            assert guard.stdout is not None
            assert "at most" in guard.stdout.readline()
            # What holds the service is no run that ps and reconcile may end.
            assert "the guard of its service" in cli("ps").stdout.replace("\n", " ")
            assert cli("reconcile").returncode == 0
            guard.send_signal(number)
            _, said = guard.communicate()
            assert guard.returncode == 0, said
            assert "The guard has ended: from now on at most 1 replica." in said
            assert {row["state"] for row in cli.ledger()} == {"settled"}

        guard = cli.start(*guard_of(cli, engine))
        assert guard.stdout is not None
        guard.stdout.readline()
        assert cli("service", "stop").returncode == 0
        assert guard.wait() == 0
        assert status_of(cli)["guard"] is None


def test_what_cannot_be_held_is_refused(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    engine = "loopback:http://127.0.0.1:9"
    told = ("--engine", engine, "--price-per-hour-usd", "1")

    little = cli("service", "guard", job_of(cli, {"month": "1000 USD"}, 2), *told)
    assert little.returncode == 4
    assert "1,488.00 USD a month all the time" in little.stderr

    day = cli("service", "guard", job_of(cli, {"month": "9000 USD", "day": "10 USD"}), *told)
    assert day.returncode == 4
    assert "24.00 USD a day all the time" in day.stderr

    job = job_of(cli, {"month": "9000 USD"})
    unheard = cli("service", "guard", job, *told)
    assert unheard.returncode == 1
    assert "the engine does not answer" in unheard.stderr

    free = cli("service", "guard", job, "--engine", engine)
    assert free.returncode == 2
    assert "what an hour of a replica costs is not said" in free.stderr

    short = cli("service", "guard", job, *told, "--lease", "1s")
    assert short.returncode == 2
    assert "too short" in short.stderr

    none = Cli(tmp_path / "other")
    (tmp_path / "other").mkdir()
    assert none("service", "status").returncode == 2
    assert cli.ledger() == []
