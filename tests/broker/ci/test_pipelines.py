"""What a change does to a pipeline: its stages are planned together, and the whole is judged."""

import json
from decimal import Decimal
from pathlib import Path

from tests.support.repositories import Repository, check

PIPELINE = """\
name: whole
broker: {deadline: 9h}
---
name: one
resources: {cpus: 4+}
run: x
broker: {work: {hours: 1, on: m5.xlarge}}
---
name: two
resources: {cpus: 4+}
run: y
broker: {work: {hours: 2, on: m5.xlarge}}
"""


def test_a_longer_stage_is_the_pipelines_cost(repository: Repository, home: Path) -> None:
    repository.commit({"pipe.job.yaml": PIPELINE})
    repository.branch()
    repository.write("pipe.job.yaml", PIPELINE.replace("hours: 2", "hours: 4"))
    done = check("--base", "main", "--json", cwd=repository.root, home=home)
    assert done.code == 0, done.stderr
    jobs = json.loads(done.stdout)["jobs"]
    assert [(job["name"], job["status"]) for job in jobs] == [
        ("one", "changed"),
        ("two", "changed"),
    ]
    total = sum(Decimal(job["head_cost_usd"]) for job in jobs)
    assert total > sum(Decimal(job["base_cost_usd"]) for job in jobs)
    # Each stage is below this limit, and both together are not.
    most = max(Decimal(job["head_cost_usd"]) for job in jobs)
    between = str((most + total) / 2)
    refused = check("--base", "main", "--max-cost", between, cwd=repository.root, home=home)
    assert refused.code == 5
    assert "whole" in refused.stderr
    passed = check("--base", "main", "--max-cost", str(total * 2), cwd=repository.root, home=home)
    assert passed.code == 0, passed.stderr
