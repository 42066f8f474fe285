"""The JSON Schema of job files agrees with the reader, in what it accepts and what it refuses."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.support.job_texts import FULL, REFUSED, SKYPILOT
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError
from mlbroker.broker.files import job_broker, job_file, job_resources
from mlbroker.broker.files.first_job import Project, job_yaml
from mlbroker.broker.files.job_file import parse_jobs

SCHEMA: dict[str, Any] = json.loads(
    files("mlbroker.broker").joinpath("schemas/job.json").read_text("utf-8")
)
EXAMPLES = Path(__file__).parents[3] / "examples"

# What a schema of plain types cannot see; the reader does.
ONLY_THE_READER_SEES = (
    "H1000", "tpux-8", "0GB", "L4:0", "disk_size: 1KB", "infra: aws, region", "'../x'",
    "image_id: {us", "image_id: ami-1}", "us-west-2/us-east-1a", "zone: '1'", "local_disk",
    "any_of: [{any_of", "'step", "(a+)+", "path: ../c", "[model, ../c", 'workdir: "a',
    "resource: {", "brokers: {", "file_mounts: [", "x \\0 y",
    # What is SkyPilot's alone has a schema of SkyPilot's.
    "apiVersion", "autostop: {", "file_mounts: {", "service: {", "pool: {", "job_recovery: {",
    "managed_secrets: ", "secrets:me",
    # Ends of a range the wrong way round, or not told from words; what stands twice in a file.
    "LR: [0.5, 0]", "LR: [1, 1]", "1e999", "log: [a, b]", "OPT: [a, a]",
    "envs: {LR", "secrets: {LR",
)  # fmt: skip


class EditorLoader(yaml.SafeLoader):
    """Types scalars as an editor's YAML 1.2 reader does: no dates, no `NO` for false."""


EditorLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith("timestamp") and not (tag.endswith("bool") and first in "yYnNoO")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def valid(text: str) -> bool:
    document = yaml.load(text, Loader=EditorLoader)
    return Draft202012Validator(SCHEMA).is_valid(document)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


SERVICE = """\
service: {readiness_probe: /health, replica_policy: {min_replicas: 1, max_replicas: 4}}
run: serve
broker:
  service:
    objective: {latency: 2s, share: 0.95}
    budget: {month: 500 USD, day: 30}
    traffic: {rate: 12, peak: 40.5}
    request: {path: /classify, body: samples.jsonl}
    over_cap: {queue: 10s}
"""
ACCEPTED = [
    FULL,
    SKYPILOT,
    "run: x\nbroker:\n",
    "run: x\nbroker: {batch: {size: 128, max: 1024}, adapt: off}",
    "run: x\nbroker: {batch: {size: 128, max: 1024, micro: 16, env: {total: B, micro: M,"
    " accumulation: A}, lr: {env: LR, base: 3e-4, rule: sqrt}}, adapt: advise}",
    "run: x\nbroker: {deadline: 1h30m, budget: 25, objective: carbon, work: {steps: 5}}",
    "run: x\nbroker: {deadline: 2026-11-30T18:00+01:00, budget: $25}",
    "run: x\nresources: {accelerators: {H100: 8}, cpus: 8+, memory: 4x, disk_size: 256}",
    "run: x\nbroker: {work: {hours: 2.5, on: 'n1-standard-4+nvidia-tesla-v100:1'}}",
    "run: x\nbroker: {work: {epochs: 3, steps_per_epoch: 9, hours: 3, on: g5.xlarge}}",
    "run: x\nresources: {cpus: 4, arch: arm64}",
    "run: x\nresources: {accelerators: [L4:1, A100], image_id: docker:ubuntu}",
    "run: x\nresources: {accelerators: {L4:1, T4:1}, use_spot: false, max_hourly_cost: 2.5}",
    "run: x\nresources: {ordered: [{infra: aws/us-east-1}, {infra: '*'}]}",
    SERVICE,
    job_yaml(Project("p", "python train.py", "pip install .", "train.py names torch")),
    job_yaml(Project("p", None, None, None)),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_is_read_is_valid(text: str) -> None:
    assert parse_jobs(text, "job.yaml", None)
    assert valid(text)


def test_the_examples_are_valid() -> None:
    for path in EXAMPLES.glob("*/job.yaml"):
        assert parse_jobs(path.read_text(), str(path), path.parent)
        assert valid(path.read_text()), path


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_is_invalid(text: str) -> None:
    if any(part in text for part in ONLY_THE_READER_SEES):
        return
    assert not valid(text)


def test_the_schema_knows_the_reader_s_keys() -> None:
    definitions = SCHEMA["$defs"]
    assert set(SCHEMA["properties"]) == set(job_file.KNOWN)
    machine = set(definitions["machine"]["properties"])
    assert machine | {"any_of", "ordered"} == set(job_resources.KNOWN)
    assert set(definitions["broker"]["properties"]) == set(job_broker.KNOWN)


def test_schema_prints_it() -> None:
    result = CliRunner().invoke(build_app(["schema"]), ["schema"])
    assert json.loads(result.stdout) == SCHEMA


def test_every_schema_that_is_shipped_can_be_printed() -> None:
    for entry in files("mlbroker.broker").joinpath("schemas").iterdir():
        name = entry.name.removesuffix(".json")
        result = CliRunner().invoke(build_app(["schema"]), ["schema", name])
        Draft202012Validator.check_schema(json.loads(result.stdout))


def test_an_unknown_schema() -> None:
    result = CliRunner().invoke(build_app(["schema"]), ["schema", "jobs"])
    assert isinstance(result.exception, InputError)
    assert "did you mean" in str(result.exception)
