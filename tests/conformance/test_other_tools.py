"""What every reader and writer of other tools' files promises: nothing is lost in silence, and a
file that was written is read back as the same needs.
"""

import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mlbroker.broker.app.carry import carry_over
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import load_job, parse_jobs
from mlbroker.broker.files.other_tools import TOOLS, reader, tool_of, writer
from mlbroker.broker.files.other_tools.interface import Chosen
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.profiles.job import Checkpoint, Deadline, Job, ResourceOption
from mlbroker.profiles.prediction import Basis

READS = [name for name, tool in TOOLS.items() if tool.reads]
WRITES = [name for name, tool in TOOLS.items() if tool.writes]
# The least file of each, with a key that nobody knows on line 3.
EXAMPLES = {
    "slurm": "#!/bin/sh\n#SBATCH --gres=gpu:2\n#SBATCH --zzz=1\npython3 train.py\n",
    "dstack": "type: task\ncommands: [python3 train.py]\nzzz: 1\nresources: {gpu: 2}\n",
    "kubernetes": (
        "apiVersion: batch/v1\nkind: Job\nzzz: 1\nspec: {template: {spec: {containers: ["
        "{command: [python3, train.py], resources: {limits: {nvidia.com/gpu: 2}}}]}}}\n"
    ),
    "determined": "entrypoint: python3 train.py\nresources: {slots_per_trial: 2}\nzzz: 1\n",
}


def machine(cloud: str, name: str, arch: str, model: str | None, count: float = 1) -> InstanceType:
    gpu = None if model is None else Gpu(model, 16)
    return InstanceType(
        cloud, name, Hardware(8, 30.5, arch, gpu=gpu, gpu_count=count if gpu else 0)
    )


MACHINES = [
    machine("aws", "g6.2xlarge", "x86_64", "L4"),
    machine("aws", "m7g.2xlarge", "arm64", None),
    machine("aws", "g6f.2xlarge", "x86_64", "L4", 0.25),
    machine("aws", "p4de.24xlarge", "x86_64", "A100-80GB", 8),
    machine("gcp", "n1-standard-8+nvidia-tesla-t4:2", "x86_64", "T4", 2),
    machine("gcp", "a2-highgpu-1g", "x86_64", "A100-40GB"),
    machine("azure", "Standard_NC6s_v3", "x86_64", "V100-16GB"),
    machine("azure", "Standard_NC40ads_H100_v5", "x86_64", "H100-NVL"),
    machine("ssh", "gpu-box", "x86_64", "RTX4090", 2),
]
# What the tools themselves read into a text is none of ours.
_THEIRS = ("SLURM", "SBATCH", "DSTACK", "JOB_COMPLETION", "${{")
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t $(){}'\"\\#"),
    max_size=60,
).filter(lambda text: not any(word in text for word in _THEIRS))
commands = texts.map(lambda text: f"echo {text}").filter(
    lambda text: not text.rstrip().endswith("&")
)
names = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not any(word in name for word in _THEIRS)
)


@st.composite
def small_jobs(draw: st.DrawFn) -> Job:
    """Jobs as small as they come, with every field that a file of another tool may have."""
    price = draw(st.none() | st.just(Decimal("2.50")))
    disk_gb = draw(st.integers(10, 2000))
    return Job(
        draw(st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True)),
        draw(commands),
        setup=draw(st.none() | commands),
        num_nodes=draw(st.integers(1, 4)),
        envs=draw(st.dictionaries(names, texts, max_size=3)),
        secrets=draw(st.just(()) | st.just(("HF_TOKEN_X",))),
        resources=(ResourceOption(disk_gb=disk_gb, max_price_per_hour_usd=price),),
    )


def chosen_for(job: Job, kind: InstanceType, market: Market, limit_s: int | None) -> Chosen:
    region = {"aws": "us-east-1", "gcp": "us-central1", "azure": "eastus"}.get(
        kind.cloud, "on-prem"
    )
    quote = Quote(
        cloud=kind.cloud, region=region, instance_type=kind.name, market=market,
        nodes=job.num_nodes, price_per_hour_usd=Decimal(1), price_as_of=date(2026, 11, 1),
        price_source="", price_stale=False, step_time_s=None, basis=Basis.UNKNOWN, evidence="",
        duration_h=None, cost_usd=None, deadline_probability=None, energy_kwh=None,
        carbon_kgco2e=None, grid_intensity_kgco2e_per_kwh=None,
    )  # fmt: skip
    return Chosen(job, quote, kind, limit_s, ".")


def read_back(name: str, text: str, folder: Path) -> Job:
    if name != "skypilot":
        path = folder / "there"
        path.write_text(text)
        over = carry_over(path, folder, None)
        assert over is not None
        text = over.text
    (file,) = parse_jobs(text, "job.yaml", folder)
    return file.job


@settings(max_examples=30, phases=[Phase.generate])
@given(
    job=small_jobs(),
    kind=st.sampled_from(MACHINES),
    market=st.sampled_from(Market),
    limit_s=st.none() | st.integers(60, 10**6),
)
@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_is_read_back_as_the_same_needs(
    name: str,
    job: Job,
    kind: InstanceType,
    market: Market,
    limit_s: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    chosen = chosen_for(job, kind, market, limit_s)
    says = set(writer(name).SAYS)
    back = read_back(name, writer(name).write(chosen), tmp_path_factory.getbasetemp())
    assert (back.name, back.num_nodes) == (job.name, job.num_nodes)
    (option,) = back.resources
    needs, hardware = option.requirements, kind.hardware
    if not chosen.own and "instance_type" in says:
        assert option.names(kind.name) or option.instance_type == chosen.type_name
        assert option.region == chosen.quote.region
        on_demand_is_the_rest = name == "kubernetes" and kind.cloud != "aws"
        assert option.market == market or on_demand_is_the_rest
    assert needs.unmet(hardware) is None or (name == "slurm" and hardware.arch == "arm64")
    if needs.gpu_model is not None:
        assert hardware.gpu is not None
        assert (needs.gpu_model, needs.gpu_count) == (hardware.gpu.model, hardware.gpu_count)
    if name == "slurm" or chosen.own:
        assert name == "kubernetes" or needs.wants_gpu == (chosen.gpus > 0)
    if "disk_size" in says:
        assert option.disk_gb == job.resources[0].disk_gb
    if "max_hourly_cost" in says:
        assert option.max_price_per_hour_usd == job.resources[0].max_price_per_hour_usd
    if "deadline" in says:
        assert back.deadline == (limit_s and Deadline(duration_s=limit_s))
    if name == "slurm":
        return  # its variables are in the script
    assert (set(back.secrets), dict(back.envs)) == (set(job.secrets), _short(name, job.envs))
    if job.setup is None and dict(back.envs) == dict(job.envs):
        assert back.command.strip() == job.command.strip()


def _short(name: str, envs: Mapping[str, str]) -> dict[str, str]:
    """dstack takes no variables of several lines: they are in its commands."""
    return {k: v for k, v in envs.items() if name != "dstack" or "\n" not in v}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_does_the_same(name: str, tmp_path: Path) -> None:
    job = Job(
        "x",
        'echo "$A"; echo $(cat made) $$ >/dev/null; cat made; false; echo end',
        setup="set -e; echo 'by set-up' >made; cd /; A=none",
        envs={"A": "a $(b) '$$' \"c\"\nd"},
    )
    chosen = chosen_for(job, MACHINES[0], Market.SPOT, 3600)
    back = read_back(name, writer(name).write(chosen), tmp_path)
    script = f"{back.setup}\n" if name == "skypilot" else ""
    environment = {"PATH": "/usr/bin:/bin", **back.envs}
    done = [
        subprocess.run(
            ["bash", "-c", part], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        for part in ([script] if script else []) + [back.command]
    ]
    assert done[-1].stdout == f"{job.envs['A']}\nby set-up\nend\n", done[-1].stderr
    broken = read_back(
        name,
        writer(name).write(chosen._replace(job=Job("x", "echo end", setup="false"))),
        tmp_path,
    )
    first = (broken.setup or "") or broken.command
    ended = subprocess.run(["bash", "-c", first], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")


@pytest.mark.parametrize("name", WRITES)
def test_all_that_a_job_says_is_in_the_file_or_told(name: str) -> None:
    option = ResourceOption(
        zone="us-east-1b", image_id="ami-012345", max_price_per_hour_usd=Decimal("7.25")
    )
    job = Job(
        "x", "y", resources=(option,), budget_usd=Decimal(25), outputs=("model.bin",),
        checkpoint=Checkpoint("ckpt/", 600), progress="(\\d+)",
    )  # fmt: skip
    chosen = chosen_for(job, MACHINES[1], Market.SPOT, 4242)
    facts, says = chosen.asked_for(), writer(name).SAYS
    assert set(says) <= set(facts)
    assert {"budget", "checkpoint", "outputs", "progress"} <= set(facts) - set(says)
    text = writer(name).write(chosen)
    shown = {"zone": "us-east-1b", "image_id": "ami-012345", "max_hourly_cost": "7.25",
             "instance_type": "m7g.2xlarge", "infra": "us-east-1"}  # fmt: skip
    for fact, word in shown.items():
        assert (word in text) == (fact in says or (fact == "infra" and "zone" in says))


@pytest.mark.parametrize("name", READS)
def test_every_reader_names_what_it_does_not_carry(name: str, tmp_path: Path) -> None:
    path = tmp_path / "their file"
    path.write_text(EXAMPLES[name])
    assert tool_of(EXAMPLES[name]) == name
    over = carry_over(path, tmp_path, "a100-80gb")
    assert over is not None
    assert any(note.startswith(f"{path}:3:") and "zzz" in note for note in over.notes)
    assert "#   line 3: " in over.text
    (file,) = parse_jobs(over.text, "job.yaml", tmp_path)
    assert file.job.command == "python3 train.py"
    (option,) = file.job.resources
    assert (option.requirements.gpu_model, option.requirements.gpu_count) == ("A100-80GB", 2)
    assert option.requirements.arch == "x86_64"
    # Where it is taken for a job file, the command that reads it is named.
    with pytest.raises(InputError, match="mlbroker init --from"):
        load_job(path)


@pytest.mark.parametrize("name", READS)
def test_every_reader_refuses_what_no_text_file_has(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(EXAMPLES[name].replace("train.py", "train\0.py"))
    with pytest.raises(InputError, match=r"x:\d: control character U\+0000"):
        carry_over(path, tmp_path, None)
    path.write_bytes(EXAMPLES[name].encode() + b"\xff")
    with pytest.raises(InputError, match=r"x:\d: is not UTF-8"):
        carry_over(path, tmp_path, None)


def test_a_plan_of_a_job_file_imports_none_of_it() -> None:
    code = "import sys, mlbroker.broker.cli.plan; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "mlbroker.broker.files.job_file" in loaded.stdout
    assert "other_tools" not in loaded.stdout


def test_each_tool_has_the_modules_that_its_entry_promises() -> None:
    assert list(EXAMPLES) == READS
    for name, tool in TOOLS.items():
        assert tool.reads or tool.writes
        assert not tool.reads or callable(reader(name).read)
        assert not tool.writes or callable(writer(name).write)
