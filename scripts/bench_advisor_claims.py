"""Holds what trials of remedies claim against whole runs of ten text jobs, into docs/advice.md.

Each job is a small encoder over texts as long as real ones (MLBROKER_EVAL, service/
lengths_text_bert.csv.gz). JOBS names some of them; only all ten are written down.
"""

import csv
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from markers import replace_block, table

from mlbroker.broker.measure.trying import Trying
from mlbroker.profiles.job import NLP_VARIABLE, Job, ProfileLimits, Work
from mlbroker.profiles.trying import Saving

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "advice.md"
PROBE = ROOT / "profiles" / "probe"
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval")) / "service"
PYTHON = os.environ.get("MLBROKER_HOOKS_PYTHON", sys.executable)
NEAR = 0.05
WANTED_NEAR = 9
# Texts; rows; rows a batch; the width of padding (0: each batch's longest); the encoder's width
# and layers; dropout; epochs; remedies.
JOBS = {
    "reviews, padded to 128": ("rt_polarity", 2400, 16, 128, 32, 1, 0.1, 4, "trim,group=50"),
    "reviews, by batch": ("rt_polarity", 2400, 32, 0, 64, 1, 0.1, 4, "group=50"),
    "reviews, small batches": ("rt_polarity", 1600, 8, 96, 48, 1, 0.0, 3, "trim,group=50"),
    "news, padded to 256": ("ag_news_test", 1600, 16, 256, 32, 1, 0.1, 3, "trim,group=50"),
    "news, by batch": ("ag_news_test", 2400, 32, 0, 32, 2, 0.1, 4, "group=50"),
    "news, trimmed alone": ("ag_news_test", 1600, 16, 256, 32, 1, 0.0, 2, "trim"),
    "sums, padded to 256": ("gsm8k_train", 1600, 16, 256, 32, 1, 0.1, 3, "trim,group=50"),
    "sums, by batch": ("gsm8k_train", 2400, 32, 0, 32, 1, 0.1, 4, "group=20"),
    "sums, wide": ("gsm8k_train", 1200, 16, 256, 64, 1, 0.0, 3, "trim,group=20"),
    "long reviews, cut at 256": ("movie_reviews_long", 800, 8, 256, 32, 1, 0.0, 2, "trim"),
}
# Each is of one thread, so that it takes the processor's time and no other. That is the clock of
# the trial's steps and of the whole runs here: what else the machine does is in neither.
SCRIPT = """
import json, sys, time, types, torch
import mlbroker_probe._events as events
began_ns = time.monotonic_ns() - time.process_time_ns()
events.time = types.SimpleNamespace(monotonic_ns=lambda: began_ns + time.process_time_ns())
from torch import nn
from torch.utils.data import DataLoader
lengths, size, padded, width, layers, dropout, epochs = json.loads(sys.argv[1])
torch.set_num_threads(1); torch.manual_seed(0)
rows = [{"input_ids": torch.randint(1, 900, (n,)).tolist()} for n in lengths]
def collate(batch):
    longest = max(len(r["input_ids"]) for r in batch)
    ids = torch.zeros(len(batch), padded or longest, dtype=torch.long)
    for i, r in enumerate(batch): ids[i, :len(r["input_ids"])] = torch.tensor(r["input_ids"])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}
table, out = nn.Embedding(900, width), nn.Linear(width, 1)
layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=dropout, batch_first=True)
model = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
weights = [*table.parameters(), *model.parameters(), *out.parameters()]
optimizer = torch.optim.AdamW(weights, lr=1e-3)
began = time.process_time()
for epoch in range(epochs):
    for b in DataLoader(rows, size, shuffle=True, collate_fn=collate):
        mask = b["attention_mask"]
        hidden = model(table(b["input_ids"]), src_key_padding_mask=mask == 0)
        hidden = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        wanted = (b["input_ids"][:, 0] > 450).float()
        loss = nn.functional.binary_cross_entropy_with_logits(out(hidden)[:, 0], wanted)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
print(time.process_time() - began)
"""


def lengths_of(name: str, rows: int, most: int) -> list[int]:
    """Real lengths of this set, in its order."""
    with gzip.open(EVAL / "lengths_text_bert.csv.gz", "rt", encoding="utf-8") as file:
        found = [int(row["tokens"]) for row in csv.DictReader(file) if row["set"] == name]
    return [min(most or 512, length) for length in found[:rows]]


def whole_run_s(folder: Path, spec: str, remedies: str) -> float:
    """Processor seconds of the loop of a whole run."""
    events = folder / "events"
    events.mkdir(exist_ok=True)
    env = os.environ | {"MLBROKER_PROBE_DIR": str(events), "PYTHONPATH": str(PROBE)}
    done = subprocess.run(
        [PYTHON, "train.py", spec],
        env=env | ({NLP_VARIABLE: remedies} if remedies else {}),
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def measure(name: str, folder: Path) -> tuple[Saving | None, float]:
    """What the trial tells of a run, None where it claims nothing, and what whole runs saved."""
    texts, rows, size, padded, width, layers, dropout, epochs, remedies = JOBS[name]
    lengths = lengths_of(texts, rows, padded)
    spec = json.dumps([lengths, size, padded, width, layers, dropout, epochs])
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "spec.json").write_text(spec, encoding="utf-8")
    job = Job(
        "bench",
        f'{PYTHON} train.py "$(cat spec.json)"',
        workdir=str(folder),
        work=Work(epochs * -(-len(lengths) // size)),
        # By the clock, which a machine that others use takes more of than its processor.
        profile=ProfileLimits(Decimal(1), 3600.0),
    )
    arms = Trying(job, remedies.split(","), lambda _: None, lambda _: None).run().arms
    arm = arms[-1]
    print(f"{name}: {arm.withdrawn or arm.of_run}", flush=True)
    runs = [(whole_run_s(folder, spec, ""), whole_run_s(folder, spec, remedies)) for _ in range(2)]
    saved = 1 - mean(b for _, b in runs) / mean(a for a, _ in runs)
    return arm.of_run if arm.proven else None, saved


def main() -> int:
    """Measure, and write; 1 where more than one claim is far off, or anything is slower."""
    has_torch = subprocess.run([PYTHON, "-c", "import torch"], check=False, capture_output=True)
    if has_torch.returncode or not EVAL.is_dir():
        print("Skipped: needs a Python with torch, MLBROKER_HOOKS_PYTHON=…, and MLBROKER_EVAL")
        return 0
    names = [name for name in os.environ.get("JOBS", "").split(";") if name] or list(JOBS)
    rows, near, seen_near, slower = [], 0, 0, 0
    for name in names:
        with TemporaryDirectory() as folder:
            told, saved = measure(name, Path(folder))
        # Who withdraws a remedy claims that it saves nothing, and nobody runs with it.
        claimed, seen = (0.0, 0.0) if told is None else told
        near += abs(claimed - saved) <= NEAR
        seen_near += abs(seen - saved) <= NEAR
        slower += told is not None and saved < 0
        words = ["nothing", ""] if told is None else [f"{claimed:.0%}", f"{seen:.0%}"]
        rows.append([name, JOBS[name][-1], *words, f"{saved:.0%}"])
        print(f"  claimed {claimed:.1%}, whole runs {saved:.1%}", flush=True)
    head = ["job", "tried", "claimed of a run", "as seen", "saved by whole runs"]
    text = (
        f"{table(head, rows)}\n\n"
        f"{near} of {len(rows)} claims are within five points of it, and {seen_near} savings as "
        f"seen; {slower} runs were slower. "
        "Claims are the lower 90 % bound; all times are the processor's. "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores; `make bench-advisor` measures it "
        "anew."
    )
    print(text)
    if names == list(JOBS):
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(replace_block(page, "claims", text), encoding="utf-8")
    return int(near < WANTED_NEAR * len(names) / len(JOBS) or slower > 0)


if __name__ == "__main__":
    sys.exit(main())
