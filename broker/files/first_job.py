"""A first job file for a project, from what its folder shows."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Project:
    """What was found: the command, how to set up, why a GPU may help (None: no sign of it)."""

    name: str
    command: str | None
    setup: str | None
    gpu_because: str | None


def look_at(folder: Path) -> Project:
    """The project in `folder`, judged by a few well-known files."""
    script = _script(folder)
    return Project(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-._")[:100] or "my-job",
        command=_command(script) if script else None,
        setup=_setup(folder),
        gpu_because=_gpu_library(folder, script),
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


def _command(script: str) -> str:
    if script.endswith(".ipynb"):
        return f"jupyter nbconvert --to notebook --execute --inplace {script}"
    return f"{'bash' if script.endswith('.sh') else 'python'} {shlex.quote(script)}"


def _setup(folder: Path) -> str | None:
    if (folder / "requirements.txt").is_file():
        return "pip install -r requirements.txt"
    if any((folder / name).is_file() for name in ("pyproject.toml", "setup.py")):
        return "pip install ."
    if (folder / "environment.yml").is_file():
        return "conda env update --name base --file environment.yml"
    return None


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
            "  # checkpoint: {path: ckpt/, every: 10m}   # makes cheap spot machines usable",
            "  # outputs: [model.bin, 'plots/*.png']     # brought home, with what is left in",
            "  #                           # $MLBROKER_OUTPUT_DIR; without, what is new and small",
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
    return [f"setup: {setup}" if setup else "# setup: pip install -r requirements.txt"]


def _run_lines(command: str | None) -> Sequence[str]:
    if command:
        return [f"run: {command}"]
    return [
        "# No training script was recognised here: write the command that starts the job.",
        "run: python train.py",
    ]
