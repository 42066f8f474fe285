"""Two people, a state folder each, one machine, and one ledger on a server."""

import json
from itertools import pairwise
from pathlib import Path

from tests.support.mlbroker import Cli, wait_for
from tests.support.postgres import Postgres, needs_postgres

NODE = """
nodes:
  - name: box
    count: 1
    hardware: {vcpus: 2, memory_gib: 8}
    price_per_hour_usd: 1
"""


@needs_postgres
def test_two_people_share_a_place_an_order_and_a_cap(tmp_path: Path, postgres: Postgres) -> None:
    ledger = {"MLBROKER_LEDGER": postgres.ledger()}
    people: dict[str, Cli] = {}
    for name in ("ada", "bob"):
        people[name] = cli = Cli(tmp_path / name)
        cli.home.mkdir(mode=0o700, parents=True)
        (cli.home / "nodes.yaml").write_text(NODE)
        # Of two runs that may cost 1 USD each only one is held at a time.
        (cli.folder / "mlbroker-policy.yaml").write_text("max_spend_per_month: 1.5 USD\n")
    for _ in range(2):
        for name, cli in people.items():
            job = cli.job("sleep 0.2", broker={"budget": "1 USD"})
            answer = cli(
                "submit", job, "--on", "box", "--yes", **ledger, MLBROKER_USER=name
            )  # fmt: skip
            assert answer.returncode == 0, answer.stderr
    ada = people["ada"]

    def over() -> list[dict[str, str]]:
        answer = ada("ledger", "--json", **ledger)
        assert answer.returncode == 0, answer.stderr
        rows: list[dict[str, str]] = json.loads(answer.stdout)["runs"]
        return rows if all(row["state"] == "settled" for row in rows) else []

    rows = wait_for(over, tell=lambda: ada("ps", **ledger).stdout)
    assert [row["outcome"] for row in rows] == ["succeeded"] * 4
    assert {row["user"] for row in rows} == {"ada", "bob"}
    spans = sorted((row["started_at"], row["ended_at"]) for row in rows)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert ada("ledger", "verify", **ledger).returncode == 0
