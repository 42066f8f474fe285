"""Slurm's batch scripts as job files: what they ask for, and what is said of the rest."""

import math
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.app.carry import carry_over
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.broker.files.other_tools.read_slurm import parse_time_s
from mlbroker.pricing.book import Amount
from mlbroker.profiles.job import Deadline, Job

SCRIPT = """\
#!/bin/bash
# a comment between
#SBATCH --job-name=bert-ft
#SBATCH -N 2 --ntasks-per-node=2   # two of them
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --gres=gpu:a100_80gb:4,lscratch:100
#SBATCH -t 1-12:30:00
#SBATCH -p gpu -A lab
#SBATCH --output=logs/%x-%j.out
#SBATCH --array=3-15%4
##SBATCH --mem=1G

module load cuda/12.1
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
#SBATCH --requeue
srun python train.py --seed $SLURM_ARRAY_TASK_ID --rank $SLURM_PROCID
"""


def carried(script: str, folder: Path, gpu: str | None = None) -> tuple[Job, list[str]]:
    path = folder / "train.sbatch"
    path.write_text(script)
    over = carry_over(path, folder, gpu)
    assert over is not None
    (file,) = parse_jobs(over.text, "job.yaml", folder)
    return file.job, [note.removeprefix(f"{path}:") for note in over.notes]


def needs(options: str, folder: Path, gpu: str | None = None) -> Job:
    return carried(f"#!/bin/sh\n#SBATCH {options}\npython3 train.py\n", folder, gpu)[0]


def test_a_script_is_a_job_and_nothing_is_lost_in_silence(tmp_path: Path) -> None:
    job, notes = carried(SCRIPT, tmp_path)
    assert (job.name, job.num_nodes, job.workdir) == ("bert-ft", 2, str(tmp_path))
    assert job.deadline == Deadline(duration_s=36.5 * 3600)
    (option,) = job.resources
    assert option.requirements.gpu_model == "A100-80GB"
    assert option.requirements.gpu_count == 4
    assert (option.requirements.vcpus, option.requirements.memory_gib) == (Amount(16), Amount(64))
    assert job.envs == {"SLURM_ARRAY_TASK_ID": "3"}
    assert job.command.startswith("export SLURM_CPUS_PER_TASK=8\n# a comment between\n")
    assert job.command.endswith("--rank $SLURM_PROCID")
    assert "\n#SBATCH" not in job.command
    told = " ".join(note.partition(": not carried")[0] for note in notes)
    assert told == (
        "4: --nodes=2: each machine runs the script, not one alone"
        " 7: --gres=lscratch:100"
        " 8: --time=1-12:30:00 is the deadline: 1d12h30m, the machine's start"
        " included 9: --partition=gpu 9: --account=lab 10: --output=logs/%x-%j.out"
        " 11: --array=3-15%4 14: module 16: #SBATCH --requeue 17: srun 17: $SLURM_PROCID"
    )


@pytest.mark.parametrize(
    ("options", "gpus", "cpus", "memory"),
    [
        ("--gpus=v100:8 --nodes=2", ("V100-16GB", 4), None, None),
        ("--gpus-per-node=h100:8", ("H100", 8), None, None),
        ("-G 2 --constraint=[a100|v100]", ("V100-16GB", 2), None, None),
        ("--gpus-per-task=1 -n 4 -c 6 --mem-per-gpu=16G", (None, 4), Amount(24), Amount(64)),
        ("--tres-per-node=gres/gpu:l40s:1", ("L40S", 1), None, None),
        ("--gres=gpu:rtx3090:2 --cpus-per-gpu=8", ("RTX3090", 2), Amount(16), None),
        ("--gres=gpu", (None, 1), None, None),
        ("--mem-per-cpu=2000 -c4", (None, None), Amount(4), Amount(7.812)),
        ("-n 8 -N2 --mem=0", (None, None), Amount(4), None),
    ],
)  # fmt: skip
def test_sizes_are_of_each_machine(
    options: str,
    gpus: tuple[str | None, int | None],
    cpus: Amount | None,
    memory: Amount | None,
    tmp_path: Path,
) -> None:
    found = needs(options, tmp_path).resources[-1].requirements
    assert (found.gpu_model, found.gpu_count) == gpus
    assert found.wants_gpu == (gpus[1] is not None)
    assert (found.vcpus, found.memory_gib) == (cpus or found.vcpus, memory)


def test_a_model_is_named_where_the_script_names_none(tmp_path: Path) -> None:
    assert needs("--gres=gpu:2", tmp_path, "a100-80gb").resources[0].requirements.gpu_count == 2
    for options, said in (("--gres=gpu:t4:2", "names T4"), ("-c 4", "asks for no GPU")):
        with pytest.raises(InputError, match=said):
            needs(options, tmp_path, "a100")
    with pytest.raises(InputError, match="unknown accelerator 'a1000x'"):
        needs("--gres=gpu:2", tmp_path, "a1000x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("90:30", 5430), ("1:30:00", 5400), ("2-0", 172800), ("1-12:30", 131400),
     ("1-00:00:01", 86401), ("0", math.inf), ("UNLIMITED", math.inf), ("-1", math.inf),
     ("1h", None), ("", None), ("1:2:3:4", None), ("1-", None)],
)  # fmt: skip
def test_times(text: str, seconds: float | None) -> None:
    assert parse_time_s(text) == seconds


@given(st.integers(1, 300 * 86400))
def test_any_time_written_out_is_read_back(seconds: int) -> None:
    days, rest = divmod(seconds, 86400)
    text = f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    assert parse_time_s(text) == seconds


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\n#SBATCH -t 1h\nx", ":2: --time: '1h' is no time"),
        ("#!/bin/sh\n#SBATCH --nodes=two\nx", ":2: --nodes: 'two' is not a whole number"),
        ("#!/bin/sh\n#SBATCH --mem=lots\nx", ":2: --mem: 'lots' is no size"),
        ("#!/bin/sh\n#SBATCH --comment='a\nx", ":2: .*No closing quotation"),
        ("#!/bin/sh\n#SBATCH stray\nx", ":2: 'stray' is no option of sbatch"),
        ("#!/bin/sh\n#SBATCH -c 2\n#SBATCH hetjob\nx", ":3: a job of several different parts"),
        ("#!/bin/sh\n#SBATCH --export=1A=2\nx", ":2: '1A' is not the name"),
        ("#!/bin/sh\n#SBATCH --array=x\nx", ":2: --array: 'x' is no list"),
        ("#!/bin/sh\n#SBATCH -c 2\n# nothing\n", ":1: holds no command"),
        ("#!/bin/sh\n#SBATCH -c 2\necho \0\n", ":3: control character U\\+0000"),
    ],
)
def test_what_sbatch_would_refuse_is_refused_with_its_line(
    script: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        carried(script, tmp_path)
    assert refused.match(said)


def test_what_is_said_twice_and_arguments_are_named(tmp_path: Path) -> None:
    script = "#!/bin/sh\n#SBATCH -t 48:00:00\n#SBATCH --time=10 --gpus=2\n#SBATCH --gres=gpu:t4:2\n"
    job, notes = carried(
        f'{script}train "$1"; ls | awk \'{{print $2}}\'\ncut "${{2:-x}}"\n', tmp_path
    )
    assert job.deadline == Deadline(duration_s=600)
    told = [note.partition(": not carried")[0] for note in notes]
    assert told[0] == "2: --time=48:00:00"
    assert {"3: --gpus=2", "6: ${2:-x}"} <= set(told)
    assert job.resources[0].requirements.gpu_model == "T4"
    assert carried(script + "echo $1\n", tmp_path)[1][-1].startswith("5: $1: not carried over")


@pytest.mark.parametrize(
    "line",
    ["srun echo a b", "srun --cpu-bind=none --label echo a b",
     "X=1 srun \\\n  --mem=0 \\\n  echo a b",
     "cd . && srun echo a b"],
)  # fmt: skip
def test_srun_of_one_task_starts_its_command_here(line: str, tmp_path: Path) -> None:
    job, notes = carried(f"#!/bin/sh\n#SBATCH --gpus=1\n{line}\n", tmp_path)
    done = subprocess.run(["bash", "-c", job.command], capture_output=True, text=True)
    assert done.stdout == "a b\n", done.stderr
    assert any("3: srun: starts its command" in note for note in notes)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("-n 4", "srun echo a"),
        ("-c 1", "srun -n 1 echo a"),
        ("-c 1", "srun echo a; srun -l x"),
        ("-c 1", "srun --ntasks 4 echo a"),
        ("-c 1", "srun --ntasks=4 echo a"),
    ],
)
def test_other_uses_of_srun_are_named(options: str, line: str, tmp_path: Path) -> None:
    job, notes = carried(f"#!/bin/sh\n#SBATCH {options}\n{line}\n", tmp_path)
    assert job.command == line
    assert any("3: srun: not carried over" in note for note in notes)


def test_a_script_starts_where_it_is_called_from(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    path = tmp_path / "scripts" / "a.sbatch"
    path.write_text("#!/bin/sh\n#SBATCH -c 1\ntrain\n")
    over = carry_over(path, tmp_path, None)
    assert over is not None
    assert "workdir: .\n" in over.text


def test_other_shells_and_interpreters(tmp_path: Path) -> None:
    assert carried("#!/bin/bash -e\n#SBATCH -c 1\nfalse\n", tmp_path)[0].command == "set -e\nfalse"
    job, notes = carried("#!/usr/bin/env python3\n#SBATCH -c 1\nimport x\n", tmp_path)
    assert job.command == f"python3 {tmp_path}/train.sbatch"
    assert "1: the script is for python3" in notes[0]


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n "), max_size=80)
)
def test_any_command_arrives_as_it_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    script = f"#!/bin/sh\n#SBATCH -c 1\necho\n{text}"
    if "SBATCH" not in text and "SLURM" not in text:
        assert carried(script, folder)[0].command == f"echo\n{text}".rstrip("\n")
