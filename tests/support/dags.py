"""Pipelines that run: stages that say in files what they were given, and how often they ran."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Each stage adds a line to `ran`, or on another machine to where RAN says, checks what it is given,
# and hands on its name and its inputs'.
STAGE = """\
import os, pathlib, sys, time
name, seconds, *needs = sys.argv[1:]
with open(os.environ.get("RAN", "ran"), "a") as ran:
    ran.write(f"{name} begins\\n")
given = pathlib.Path(os.environ["MLBROKER_INPUTS"])
texts = [(given / need / "out.txt").read_text() for need in needs]
time.sleep(float(seconds))
out = pathlib.Path(os.environ["MLBROKER_OUTPUT_DIR"]) / "out.txt"
out.write_text(f"{name}({','.join(texts)})")
with open(os.environ.get("RAN", "ran"), "a") as ran:
    ran.write(f"{name} ends\\n")
"""
GO = ("--on", "local", "--local-price", "3.6", "--yes")
SIX = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["a"], "f": ["d", "e"]}


def dag(
    folder: Path,
    needs: Mapping[str, Sequence[str]],
    seconds: float = 0.1,
    header: Mapping[str, Any] | None = None,
    **stages: Mapping[str, Any],
) -> Path:
    """A pipeline of such stages, with `stages` having what is other of some of them."""
    work = folder / "work"
    work.mkdir(exist_ok=True, parents=True)
    (work / "stage.py").write_text(STAGE)
    (work / ".gitignore").write_text("ran\n")
    documents: list[Mapping[str, Any]] = [{"name": "dag", "broker": header or {"budget": "1 USD"}}]
    for name, before in needs.items():
        own = {"broker": {"needs": list(before)}, "resources": {"cpus": 1}}
        run = f"exec python3 stage.py {name} {seconds} {' '.join(before)}"
        documents.append(
            {"name": name, "workdir": str(work), "run": run, **own, **stages.get(name, {})}
        )
    path = folder / "dag.yaml"
    path.write_text("\n---\n".join(map(json.dumps, documents)))
    return path


def ran(folder: Path) -> list[str]:
    """What began and ended, in order."""
    path = folder / "work" / "ran"
    return path.read_text().splitlines() if path.exists() else []


def expected(name: str, needs: Mapping[str, Sequence[str]] = SIX) -> str:
    """What a stage hands on."""
    return f"{name}({','.join(expected(before, needs) for before in needs[name])})"
