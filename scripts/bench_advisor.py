"""Measures what watching the tokens of text batches takes of a step, and what padding grouping
leaves of texts as long as real ones (MLBROKER_EVAL), into docs/advice.md."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from markers import replace_block, table

from mlbroker.broker.words import figure

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "advice.md"
PROBE = ROOT / "profiles" / "probe"
PYTHON = os.environ.get("MLBROKER_HOOKS_PYTHON", sys.executable)
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval")) / "service"
MOST_SHARE = 0.005
MOST_WASTE = 0.05
GROUPED = """
import csv, gzip, json, sys, torch
from mlbroker_probe._group import Grouped, window_of
from torch.utils.data import DataLoader
def waste(batches):
    places = sum(max(lengths[i] for i in b) * len(b) for b in batches)
    return 1 - sum(lengths[i] for b in batches for i in b) / places
sets, found = {}, []
for row in csv.DictReader(gzip.open(sys.argv[1], "rt")):
    sets.setdefault(row["set"], []).append(min(512, int(row["tokens"])))
for name, lengths in sets.items():
    for size in (8, 16, 32):
        torch.manual_seed(0)
        loader = DataLoader([{"length": n} for n in lengths], size, shuffle=True, collate_fn=list)
        plain = waste(list(loader.batch_sampler))
        grouped = Grouped(loader, window_of(loader, 50), lambda *_: None, 0)
        found.append([name, len(lengths), size, 1 - sum(lengths) / len(lengths) / max(lengths),
                      plain, waste(list(grouped))])
print(json.dumps(found))
"""
# A small encoder of several widths: steps of about a millisecond to a tenth of a second.
CHILD = """
import json, random, time, torch
import mlbroker_probe._torch as probe
from mlbroker_probe._tokens import Tokens
from torch.nn.utils.rnn import pad_sequence
torch.set_num_threads(1)
random.seed(0); torch.manual_seed(0)
rows = [torch.randint(1, 900, (random.randint(5, 120),)) for _ in range(512)]
def with_labels(batch):
    ids = pad_sequence(batch, batch_first=True)
    return {"input_ids": ids, "labels": ids.masked_fill(ids == 0, -100)}
def with_mask(batch):
    ids = pad_sequence(batch, batch_first=True)
    lengths = torch.tensor([[len(r)] for r in batch])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1])[None] < lengths).long()}
found = []
for width, size, by in ((0, 32, "mask"), (8, 8, "mask"), (32, 32, "mask"), (32, 32, "labels"),
                        (128, 32, "mask")):
    collate = with_mask if by == "mask" else with_labels
    loader = torch.utils.data.DataLoader(rows, size, shuffle=True, collate_fn=collate)
    if width:
        table = torch.nn.Embedding(900, width)
        layer = torch.nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        weights = [*table.parameters(), *layer.parameters()]
    else:
        weights = [torch.nn.Parameter(torch.ones(1))]
    optimizer = torch.optim.SGD(weights, lr=0.01)
    probe._tokens, steps, began = Tokens(), 0, time.perf_counter()
    while time.perf_counter() - began < 5:
        for batch in loader:
            if width:
                ids = batch["input_ids"]
                hidden = layer(table(ids), src_key_padding_mask=ids == 0)
                hidden.mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
    took, told = time.perf_counter() - began, probe._tokens
    found.append([by, 1e3 * took / steps, 1e6 * told._spent_s / told.steps, told.steps / steps,
                  told._spent_s / took])
print(json.dumps(found))
"""


def grouping() -> str:
    """What of the places is padding, as a table."""
    done = subprocess.run(
        [PYTHON, "-c", GROUPED, str(EVAL / "lengths_text_bert.csv.gz")],
        env=os.environ | {"PYTHONPATH": str(PROBE)},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    rows = [[name, f"{rows:,}", str(size), f"{most:.0%}", f"{plain:.0%}", f"{grouped:.1%}"]
            for name, rows, size, most, plain, grouped in found]  # fmt: skip
    head = ["texts", "rows", "a batch", "padded to the longest", "by batch", "`group: 50`"]
    within = sum(row[-1] <= MOST_WASTE for row in found)
    return (
        f"{table(head, rows)}\n\n{within} of {len(rows)} are within 5 %. Lengths are of BERT's "
        f"tokens, 512 at most. {datetime.now(UTC):%Y-%m-%d}; `make bench-advisor` measures it anew."
    )


def main() -> int:
    """Measure and write; 1 where watching takes more than its share."""
    has_torch = subprocess.run([PYTHON, "-c", "import torch"], check=False, capture_output=True)
    if has_torch.returncode:
        print("Skipped: needs a Python with torch, MLBROKER_HOOKS_PYTHON=…")
        return 0
    page = PAGE.read_text(encoding="utf-8")
    if EVAL.is_dir():
        waste = grouping()
        print(waste)
        page = replace_block(page, "grouping", waste)
    with TemporaryDirectory() as events:
        environment = os.environ | {"MLBROKER_PROBE_DIR": events, "PYTHONPATH": str(PROBE)}
        done = subprocess.run(
            [PYTHON, "-c", CHILD], env=environment, check=True, capture_output=True, text=True
        )
    found = json.loads(done.stdout)
    rows = [[f"{figure(round(ms, 1))} ms", by, f"{us:.0f} µs", f"{seen:.0%}", f"{share:.2%}"]
            for by, ms, us, seen, share in found]  # fmt: skip
    head = ["a step", "by", "a batch that is looked at", "steps looked at", "share of the time"]
    text = (
        f"{table(head, rows)}\n\n{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()},"
        f" {os.cpu_count()} cores; `make bench-advisor` measures it anew."
    )
    print(text)
    PAGE.write_text(replace_block(page, "watching", text), encoding="utf-8")
    return int(max(share for *_, share in found) > MOST_SHARE)


if __name__ == "__main__":
    sys.exit(main())
