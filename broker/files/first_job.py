"""A first job file for a project, from what its folder shows."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.files.first_environment import Environment, environment_of

_SCRIPTS = (
    "train.py",
    "main.py",
    "run.py",
    "fit.py",
    "finetune.py",
    "train.sh",
    "run.sh",
    "src/train.py",
    "src/main.py",
    "scripts/train.py",
    "scripts/train.sh",
)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_READ_LIMIT = 200_000
_GPU_LIBRARIES = re.compile(
    r"\b(torch|pytorch|tensorflow|jax|transformers|lightning|deepspeed|keras|accelerate)\b"
)


# What training scripts call the files they leave, and the folder they go on from.
_RESULT = re.compile(
    r"""["']([\w./-]+\.(?:pt|pth|bin|safetensors|onnx|pkl|joblib|h5|keras|npy|npz))["']"""
)
_CHECKPOINTS = re.compile(
    r"""(?:(?:makedirs|Path|join)\(\s*|dir\s*=\s*)["']((?:[\w-]+/)*(?:ckpts?|checkpoints?))["']"""
    r"""|["']((?:[\w-]+/)*(?:ckpts?|checkpoints?))/"""
)
_MOST_RESULTS = 5


@dataclass(frozen=True, slots=True)
class Project:
    """What was found: the command, how to set up, why a GPU may help (None: no sign of it).

    `checkpoint` is the folder that the script goes on from, `outputs` the files that it leaves,
    `packages` in words where they come from.
    """

    name: str
    command: str | None
    setup: str | None
    gpu_because: str | None
    checkpoint: str | None = None
    outputs: tuple[str, ...] = ()
    packages: str | None = None


def look_at(folder: Path, ours: Path | None = None) -> Project:
    """The project in `folder`, judged by a few well-known files.

    `ours` is the Python environment that mlbroker is in, which is no job's.
    """
    script = _script(folder)
    environment = environment_of(folder, ours)
    text = _start_of(folder / script) if script else ""
    checkpoint = _checkpoints(folder, text)
    return Project(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-._")[:100] or "my-job",
        command=_command(script, environment) if script else None,
        setup=environment.setup if environment else None,
        gpu_because=_gpu_library(folder, script),
        checkpoint=checkpoint,
        outputs=_results(folder, text, checkpoint),
        packages=environment.words if environment else None,
    )


def _script(folder: Path) -> str | None:
    for name in _SCRIPTS:
        if (folder / name).is_file():
            return name
    # One candidate is a finding, several are a question for the user.
    for pattern in ("*.py", "*.ipynb"):
        found = [
            path.name
            for path in folder.glob(pattern)
            if path.is_file()
            and _PLAIN.fullmatch(path.name)
            and path.name not in ("setup.py", "conftest.py", "noxfile.py")
            and not path.name.startswith("test_")
        ]
        if len(found) == 1:
            return found[0]
    return None


def _command(script: str, environment: Environment | None) -> str:
    """What starts the script; a bare machine has `python3`, an environment also `python`."""
    python = "python" if environment else "python3"
    if script.endswith(".ipynb"):
        start = f"{python} -m jupyter nbconvert --to notebook --execute --inplace {script}"
    else:
        start = f"{'bash' if script.endswith('.sh') else python} {shlex.quote(script)}"
    return f'PATH="$PWD/{environment.folder}/bin:$PATH" {start}' if environment else start


def _checkpoints(folder: Path, text: str) -> str | None:
    found = [one or other for one, other in _CHECKPOINTS.findall(text)]
    found += [name for name in ("checkpoints", "ckpt") if (folder / name).is_dir()]
    return next((f"{name}/" for name in found if not name.startswith("/")), None)


def _results(folder: Path, text: str, checkpoint: str | None) -> tuple[str, ...]:
    """Files that the script names and that are not there yet: what is there is its input."""
    names = [
        name
        for name in dict.fromkeys(_RESULT.findall(text))
        if not (folder / name).exists()
        and not name.startswith(("/", "."))
        and ".." not in name
        and not (checkpoint and name.startswith(checkpoint))
    ]
    return tuple(names[:_MOST_RESULTS])


def _gpu_library(folder: Path, script: str | None) -> str | None:
    names = ["requirements.txt", "pyproject.toml", "environment.yml", *([script] if script else [])]
    for name in names:
        found = _GPU_LIBRARIES.search(_start_of(folder / name))
        if found:
            return f"{name} names {found[1]}"
    return None


def _start_of(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_READ_LIMIT)
    except OSError:
        return ""


def job_yaml(project: Project) -> str:
    """The text of the job file: what was found is filled in, the rest stands there to be used."""
    return "\n".join(
        [
            "# A job for mlbroker: a SkyPilot task file plus the block `broker:`.",
            "# Every field: docs/job.md. For help in an editor: mlbroker schema job > "
            "job.schema.json",
            "# yaml-language-server: $schema=job.schema.json",
            f'name: "{project.name}"',
            "workdir: .                    # relative to this file",
            "",
            *_resources(project.gpu_because),
            "",
            '# envs: {EPOCHS: "3"}',
            "# secrets: {HF_TOKEN: null}   # read from the environment at launch, never stored",
            "",
            *_setup_lines(project.setup),
            *_run_lines(project.command),
            "",
            "broker:",
            "  deadline: 6h                # or a moment: 2026-11-30T18:00+01:00",
            "  # confidence: 0.9           # chance of being done in time that a choice must reach",
            "  # budget: 25 USD            # hard cap for a run, everything included",
            "  # work: {steps: 12000}      # or {epochs: 3, steps_per_epoch: 4000}",
            "  # progress: 'step (\\d+)'    # how the step number shows in the job's output",
            *_kept_lines(project),
            "  # data: {input_gb: 40, output_gb: 1, at: aws/us-east-1}",
            "  # objective: cost           # or time, carbon, {usd_per_kg_co2e: 0.1}",
            "  # runs_per_month: 30        # for the monthly figure in CI checks",
            "",
        ]
    )


def _resources(gpu_because: str | None) -> Sequence[str]:
    if gpu_because is None:
        return ["resources:", "  cpus: 4+                    # at least; `4` means exactly four"]
    return [
        f"resources:                    # {gpu_because}, so GPUs are among the candidates",
        "  any_of:",
        "    - {accelerators: L4:1}",
        "    - {accelerators: T4:1}",
        "    - {accelerators: A100:1}",
        "    - {cpus: 8+}",
    ]


def _setup_lines(setup: str | None) -> Sequence[str]:
    if setup is None:
        return ["# setup: python3 -m venv .venv-job && .venv-job/bin/pip install …"]
    return ["setup: |", *(f"  {line}" for line in setup.splitlines())]


def _run_lines(command: str | None) -> Sequence[str]:
    if command:
        return [f"run: {command}"]
    return [
        "# No training script was recognised here: write the command that starts the job.",
        "run: python3 train.py",
    ]


def _kept_lines(project: Project) -> Sequence[str]:
    """What outlives the machine: active where it was found, else there to be used."""
    spot = "   # makes cheap spot machines usable"
    checkpoint = "  # checkpoint: {path: ckpt/, every: 10m}"
    if project.checkpoint:
        checkpoint = f"  checkpoint: {{path: {project.checkpoint}, every: 10m}}"
    outputs = "  # outputs: [model.bin, 'plots/*.png']"
    if project.outputs:
        outputs = f"  outputs: [{', '.join(project.outputs)}]"
    return [
        checkpoint + spot,
        outputs + "     # brought home, with what is left in",
        "  #                           # $MLBROKER_OUTPUT_DIR; without, what is new and small",
    ]
