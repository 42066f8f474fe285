"""Holds the noise scale that the probe sees to that of single samples, into docs/benchmarks.md."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from markers import replace_block, table
from tests.support.noisy import DDP_MODES, MODES, SCRIPT

from mlbroker.broker.words import figure
from mlbroker.profiles.noise_seen import noise_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PROBE = ROOT / "profiles" / "probe"
PYTHON = os.environ.get("MLBROKER_HOOKS_PYTHON", sys.executable)
SEEDS = int(os.environ.get("SEEDS", "3"))
WORST_MISS, MOST_SHARE = 0.25, 0.01
# Steps of about a millisecond to a tenth of a second. What a look costs is what its steps take
# more than those around it, whatever the probe itself saw of that.
STEPS = """
import bisect, json, os, statistics, time, torch
import mlbroker_probe._torch as probe
from mlbroker_probe._noise import Noise
torch.set_num_threads(1)
found = []
for width, rows in ((32, 32), (256, 64), (1024, 128)):
    model = torch.nn.Sequential(
        *(layer for _ in range(4) for layer in (torch.nn.Linear(width, width), torch.nn.ReLU())))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    noise = probe._noise = Noise()
    looked, others, began = [], [], time.thread_time()
    while time.thread_time() - began < 30:
        before, at = bool(noise._handles), time.thread_time()
        model(torch.randn(rows, width)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        step = len(looked) + len(others), time.thread_time() - at
        (looked if before or noise._handles else others).append(step)
    took, numbers = time.thread_time() - began, [number for number, _ in others]
    def around(number):
        at = bisect.bisect(numbers, number)
        return statistics.median(seconds for _, seconds in others[max(0, at - 8):at + 8])
    more = sum(seconds - around(number) for number, seconds in looked)
    steps = len(looked) + len(others)
    found.append([1e3 * took / steps, len(looked) / steps, more / took, noise.cost.spent_s / took])
json.dump(found, open(os.environ["FOLDER"] + "/told.json", "w"))
"""


def main() -> int:
    """Measure and write; 1 where a figure misses what it must reach."""
    has_torch = subprocess.run([PYTHON, "-c", "import torch"], check=False, capture_output=True)
    if has_torch.returncode:
        print("Skipped: needs a Python with torch, MLBROKER_HOOKS_PYTHON=…")
        return 0
    misses: dict[str, list[float]] = {mode: [] for mode in (*MODES, *DDP_MODES)}
    known: dict[str, list[float]] = {mode: [] for mode in misses}
    for seed in range(SEEDS):
        for modes in (MODES, DDP_MODES):
            told = _run(SCRIPT, MODES=";".join(modes), SEED=str(seed), STEPS="640")
            for mode in modes:
                seen = noise_of(told[mode]["notes"])
                truth = told[mode]["truth"]
                known[mode].append(truth)
                misses[mode].append(float("inf") if seen is None else seen.noise / truth - 1)
    costs = _run(STEPS)
    rows = [
        [mode, figure(sum(known[mode]) / SEEDS), ", ".join(f"{miss:+.0%}" for miss in missed)]
        for mode, missed in misses.items()
    ]
    shares = [
        [f"{ms:.1f} ms", f"{looked:.0%}", f"{more:.2%}", f"{seen:.2%}"]
        for ms, looked, more, seen in costs
    ]
    cost = ["a step", "steps looked at", "share of the time", "by its own count"]
    text = (
        f"{table(['training', 'φ of single samples', 'seen, against it'], rows)}\n\n"
        f"{table(cost, shares)}\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()},"
        f" {os.cpu_count()} cores; `make bench-noise` measures it anew."
    )
    print(text)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replace_block(page, "noise", text), encoding="utf-8")
    worst = max(abs(miss) for missed in misses.values() for miss in missed)
    return int(worst > WORST_MISS or max(more for _, _, more, _ in costs) > MOST_SHARE)


def _run(script: str, **env: str) -> dict[str, dict[str, dict[str, str]]]:
    with TemporaryDirectory() as folder:
        source = Path(folder) / "train.py"
        source.write_text(script)
        environment = os.environ | {"MLBROKER_PROBE_DIR": folder, "PYTHONPATH": str(PROBE)}
        environment |= {"FOLDER": folder, "GLOO_SOCKET_IFNAME": "lo"} | env
        subprocess.run([PYTHON, str(source)], env=environment, check=True)
        return json.loads((Path(folder) / "told.json").read_text())


if __name__ == "__main__":
    sys.exit(main())
