"""Measure `mlbroker check` on large repositories, against targets, into docs/benchmarks.md."""

import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import MIB, MLBROKER, PAGE, Figure, race, run
from markers import replace_block, table

# What the jobs of a large repository may ask for: some forty wishes, no job with quite the same.
KINDS = (
    *(f"{{cpus: {cpus}+, memory: {gib}+}}" for cpus in (2, 4, 8, 16) for gib in (8, 16, 32, 64)),
    *(f"{{cpus: {cpus}+, disk_size: {disk}}}" for cpus in (4, 32) for disk in (50, 250, 1000)),
    *(f"{{accelerators: {gpu}:1}}" for gpu in ("T4", "L4", "A10G", "V100", "A100", "H100")),
    *(f"{{accelerators: A100:8, use_spot: {spot}}}" for spot in ("true", "false")),
    *(f"{{infra: {place}, cpus: 8+}}" for place in ("aws/us-east-1", "gcp", "azure")),
    *(f"{{any_of: [{{accelerators: {gpu}:1}}, {{cpus: 8+}}]}}" for gpu in ("T4", "L4", "A10G")),
)
HEAD = ["what", "measured", "target", "of which", ""]


def job(number: int, steps: int) -> str:
    """One of many jobs, no two alike."""
    return (
        f"name: job-{number}\nresources: {KINDS[number % len(KINDS)]}\n"
        f"setup: pip install -r requirements.txt\nrun: python train.py --seed {number}\n"
        f"broker:\n  deadline: 2d\n  budget: 1000 USD\n  work: {{steps: {steps}}}\n"
        f"  data: {{input_gb: {number % 300}, at: aws/us-east-1}}\n"
        f"  runs_per_month: {1 + number % 30}\n"
    )


def repository(root: Path, jobs: int, changed: int) -> Path:
    """A repository with `jobs` job files, of which a branch changes some."""

    def git(*arguments: str) -> None:
        who = {f"GIT_{role}_{what}": "bench@example.org" for role in ("AUTHOR", "COMMITTER")
               for what in ("NAME", "EMAIL")}  # fmt: skip
        environment = os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", *arguments], cwd=root, env=environment, check=True)

    def write(number: int, steps: int) -> None:
        path = root / f"team{number % 10}" / f"job{number}" / "job.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(job(number, steps))

    root.mkdir()
    git("init", "-q", "-b", "main")
    for number in range(jobs):
        write(number, 1000 + 7 * number)
    git("add", "-A")
    git("commit", "-q", "-m", "All jobs")
    git("checkout", "-q", "-b", "feature")
    for index in range(changed):
        number = index * (jobs // changed)
        write(number, 2000 + 7 * number)
    git("commit", "-q", "-a", "-m", "Some jobs")
    return root


def measure(folder: Path) -> list[Figure]:
    home = folder / "home"
    small = repository(folder / "small", 300, 20)
    large = repository(folder / "large", 5000, 50)
    times = race(
        {
            "plan": ([MLBROKER, "plan", str(small / "team0" / "job0" / "job.yaml")], home),
            "check": ([MLBROKER, "check", str(small), "--base", "main"], home),
            "some": ([MLBROKER, "check", str(large), "--base", "main", "--json"], home),
        }
    )
    everything = run([MLBROKER, "check", str(large), "--json"], home)
    both = repository(folder / "both", 5000, 5000)
    twice = run([MLBROKER, "check", str(both), "--base", "main", "--json"], home)
    ms = [round(times[name].seconds * 1000) for name in ("check", "plan")]
    return [
        Figure(
            "`check` of 300 jobs, 20 of them changed, against one `plan`",
            times["check"].seconds / times["plan"].seconds,
            3.0,
            "times",
            f"{ms[0]} ms against {ms[1]} ms",
        ),
        Figure("5,000 jobs, 50 of them changed", times["some"].cpu_s, 30, "s", "100 prices"),
        Figure("5,000 jobs, each of them priced", everything.cpu_s, 30, "s", "5,000 prices"),
        Figure("5,000 jobs, all of them changed", twice.cpu_s, 30, "s", "10,000 prices"),
        Figure("Memory of that, at its peak", twice.peak_bytes / MIB, 500, "MiB", ""),
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mlbroker-bench-") as folder:
        figures = measure(Path(folder))
    rows = table(HEAD, [figure.cells() for figure in figures])
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    body = (
        f"{rows}\n\nSeconds are of one processor, which a check keeps busy from start to end.\n"
        f"{datetime.now(UTC):%Y-%m-%d}, on {machine}; `make bench-check`."
    )
    PAGE.write_text(replace_block(PAGE.read_text("utf-8"), "check", body), encoding="utf-8")
    print(rows)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
