"""Writes the figures of a full campaign into docs/reliability.md, between its two markers."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
TITLES = {
    "kill-boundaries": "kill -9 of clients and reconcilers at random boundaries (simulated vendor)",
    "queue-kills": "kill -9 of clients that queue for one place, at random moments",
    "queue-kills-on-three": "kill -9 of clients that queue for places of three nodes",
    "kill-moments": "kill -9 of the client of a real job at random moments",
    "pipeline-kills": "kill -9 of clients and carriers of six-stage pipelines, at random points",
    "pipeline-kills-aws": "the same, with two of the stages on AWS (loopback)",
    "pipeline-kills-gcp": "the same, with two of the stages on Google Cloud (loopback)",
    "pipeline-kills-azure": "the same, with two of the stages on Azure (loopback)",
    "tuning-kills": "kill -9 of clients, lanes and guests of studies on this machine",
    "tuning-kills-aws": "kill -9 of clients and lanes of studies on AWS (loopback)",
    "tuning-kills-gcp": "kill -9 of clients and lanes of studies on Google Cloud (loopback)",
    "tuning-kills-azure": "kill -9 of clients and lanes of studies on Azure (loopback)",
    "slurm-kills": "kill -9 of Slurm's controller and of the client at random moments",
    "state-machine": "random histories (Hypothesis)",
    "cap-race": "processes racing for one shared cap",
    "killed-writers": "ledger writers killed at random",
    "cut-logs": "write-ahead logs cut at random offsets",
    "commits": "durable ledger commits against bare SQLite (WAL, synchronous=FULL)",
    "concurrent-runs": "simulated runs at once through one ledger",
    "team-cap-race": "clients racing for one shared cap of a team's ledger (PostgreSQL)",
    "team-killed-server": "kill -9 of the PostgreSQL server while clients commit",
    "team-commits": "clients that commit at once to a team's ledger (PostgreSQL, fsync on)",
    "team-history": "reservations under a monthly cap after a month of so many settled runs",
    "secrets-local": "planted secrets, runs on this machine",
    "secrets-ssh": "planted secrets, runs over SSH",
    "aws-random-faults": "random faults of AWS's services (loopback), runs to their settlement",
    "aws-killed-clients": "kill -9 of clients at any request to AWS (loopback), then a month",
    "aws-spot-markets": "runs under a spot policy on seeded markets of AWS (loopback)",
    "aws-spot-kills": "kill -9 of clients under a spot policy on AWS (loopback), then a month",
    "gcp-spot-markets": "runs under a spot policy on seeded markets of Google Cloud (loopback)",
    "gcp-spot-kills": "kill -9 of clients under a spot policy on Google Cloud, then a month",
    "azure-spot-markets": "runs under a spot policy on seeded markets of Azure (loopback)",
    "azure-spot-kills": "kill -9 of clients under a spot policy on Azure (loopback), then a month",
    "aws-launches": "launches at once against RunInstances' bucket (loopback)",
    "gcp-faults": "runs on the loopback Google Cloud under random faults",
    "gcp-client-dead": "kill -9 of clients at any request to Google Cloud (loopback), then a month",
    "azure-faults": "runs on the loopback Azure under random faults",
    "azure-client-dead": "kill -9 of clients at any request to Azure (loopback), then a month",
    "kubernetes-random-faults": "runs on a Kubernetes (loopback) under random faults",
    "kubernetes-killed-clients": "kill -9 of clients at any request to Kubernetes (loopback)",
    "hostile": "hostile names, values, paths and words against a canary",
    "lying-guests": "runs whose guests leave anything in the bucket: reports, logs, archives",
    "lying-boxes": "runs on this machine whose jobs leave any kind of file in their keeper's place",
    "lying-nodes": "runs over SSH whose nodes answer anything",
    "lying-aws": "runs on an AWS (loopback) whose answers are changed at random",
    "lying-gcp": "runs on a Google Cloud (loopback) whose answers are changed at random",
    "lying-azure": "runs on an Azure (loopback) whose answers are changed at random",
    "lying-kubernetes": "runs on a Kubernetes (loopback) whose answers are changed at random",
    "full-disk": "runs whose machine's disk is full at a random moment",
    "lying-github": "comments through a GitHub whose answers are changed at random",
    "lying-gitlab": "comments through a GitLab whose answers are changed at random",
}


def table(folder: Path, before: str) -> str:
    """One row a campaign: what was done and what came of it. What was not run keeps its row."""
    old = {line.split(" | ")[0]: line for line in before.splitlines() if line.startswith("| ")}
    lines = ["| campaign | figures |", "| --- | --- |"]
    for name, title in TITLES.items():
        path = folder / f"{name}.json"
        if path.exists():
            measured = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            figures = told(json.loads(path.read_text()))
            lines.append(f"| {title} | {figures}, on {measured:%Y-%m-%d} |")
        elif f"| {title}" in old:
            lines.append(old[f"| {title}"])
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return "\n".join([*lines, "", f"Measured with {where}."])


def told(figures: dict[str, Any]) -> str:
    """ "rounds 1,000, leaks 0" """
    parts = []
    for key, value in figures.items():
        words = key.replace("_", " ")
        if isinstance(value, dict):
            parts.append(f"{words} ({told(value)})")
        elif isinstance(value, str):
            parts.append(f"{words} {value}")
        else:
            parts.append(f"{words} {value:,}")
    return ", ".join(parts)


def main(folder: Path, document: Path) -> None:
    """Replace what stands between the markers."""
    text = document.read_text()
    before, _, rest = text.partition(BEGIN)
    between, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{table(folder, between)}\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
