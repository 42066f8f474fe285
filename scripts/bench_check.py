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

KINDS = (
    "{cpus: 4+}",
    "{cpus: 8+, memory: 32+}",
    "{accelerators: L4:1}",
    "{any_of: [{accelerators: T4:1}, {cpus: 8+}]}",
)
HEAD = ["what", "measured", "target", "of which", ""]


def job(number: int, steps: int) -> str:
    """One of many jobs, no two alike."""
    return (
        f"name: job-{number}\nresources: {KINDS[number % len(KINDS)]}\n"
        f"setup: pip install -r requirements.txt\nrun: python train.py --seed {number}\n"
        f"broker:\n  deadline: 2d\n  budget: 100 USD\n  work: {{steps: {steps}}}\n"
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
    ms = [round(times[name].seconds * 1000) for name in ("check", "plan")]
    return [
        Figure(
            "`check` of 300 jobs, 20 of them changed, against one `plan`",
            times["check"].seconds / times["plan"].seconds,
            3.0,
            "times",
            f"{ms[0]} ms against {ms[1]} ms",
        ),
        Figure("5,000 jobs, 50 of them changed", times["some"].seconds, 30, "s", "100 prices"),
        Figure("5,000 jobs, each of them priced", everything.seconds, 30, "s", "5,000 prices"),
        Figure("Memory of that, at its peak", everything.peak_bytes / MIB, 500, "MiB", ""),
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mlbroker-bench-") as folder:
        figures = measure(Path(folder))
    rows = table(HEAD, [figure.cells() for figure in figures])
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    body = f"{rows}\n\n{datetime.now(UTC):%Y-%m-%d}, on {machine}; `make bench-check`."
    PAGE.write_text(replace_block(PAGE.read_text("utf-8"), "check", body), encoding="utf-8")
    print(rows)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
