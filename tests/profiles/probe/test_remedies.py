"""Padding is cut and rows are grouped where that is safe; else the job goes on as it would."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.hooks import Run, needs

SCRIPT = """
import json, os, random, torch
from torch.utils.data import *
import mlbroker_probe._torch as probe
from mlbroker_probe._remedies import Remedies, _compilers
def rows_of(n=240, seed=1):
    random.seed(seed); torch.manual_seed(seed)
    return [torch.randint(1, 900, (random.randint(3, 60),)) for _ in range(n)]
class Items(Dataset):
    def __init__(self, rows): self.rows, self.read = rows, 0
    def __len__(self): return len(self.rows)
    def __getitem__(self, i): self.read += 1; return i, self.rows[i]
def collate(batch, width=64, left=False, mask=True, **more):
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    for row, (_, r) in enumerate(batch):
        ids[row, width - len(r):] = r if left else 0
        if not left: ids[row, :len(r)] = r
    found = {"input_ids": ids, "rows": [i for i, _ in batch]}
    if mask: found["attention_mask"] = (ids != 0).long()
    return found
def passed(loader, asked="trim", epochs=1, trial=0):
    notes = {}
    wishes = {w.partition("=")[0]: w.partition("=")[2] for w in asked.split(",")}
    probe._remedies = Remedies(wishes, trial, notes.__setitem__)
    seen = [[batch for batch in loader] for _ in range(epochs)]
    return seen, notes
def widths(batches): return [b["input_ids"].shape[1] for b in batches]
def order(batches): return [b["rows"] for b in batches]
told = {}
"""
END = '\njson.dump(told, open(os.environ["FOLDER"] + "/told.json", "w"))\n'

TRIM = """
rows = rows_of()
for side in (False, True):
    plain, _ = passed(DataLoader(Items(rows), 16, collate_fn=lambda b: collate(b, left=side)), "")
    def labelled(batch):
        found = collate(batch, left=side)
        found["token_type_ids"] = torch.ones_like(found["input_ids"])
        found["labels"] = found["input_ids"].masked_fill(found["attention_mask"] == 0, -100)
        return found
    cut, notes = passed(DataLoader(Items(rows), 16, collate_fn=labelled))
    for a, b in zip(plain[0], cut[0]):
        longest = max(len(rows[i]) for i in b["rows"])
        assert all(b[k].shape == (16, longest) for k in b if k != "rows"), side
        part = slice(64 - longest, 64) if side else slice(0, longest)
        assert torch.equal(a["input_ids"][:, part], b["input_ids"])
        assert b["input_ids"].is_contiguous()
        assert b["labels"].ne(-100).equal(b["attention_mask"].bool())
    told[str(side)] = notes
def pair(batch):
    found = collate(batch)
    return found, found["input_ids"].masked_fill(found["attention_mask"] == 0, -100), torch.ones(16)
cut, told["pair, workers"] = passed(DataLoader(Items(rows), 16, collate_fn=pair, num_workers=2))
for named, labels, weights in cut[0]:
    assert labels.shape == named["input_ids"].shape != (16, 64)
    assert weights.shape == (16,)
class Owned(dict): pass
kept = Owned(collate([(i, rows[i]) for i in range(16)]))
cut, told["its own batch"] = passed(DataLoader([kept], batch_size=None))
assert kept["input_ids"].shape[1] == 64 != cut[0][0]["input_ids"].shape[1]
assert type(cut[0][0]) is Owned
probe._remedies = None
_compilers.add("torch.compile")
short = Items([torch.ones(5, dtype=torch.long)] * 32)
wide = DataLoader(short, 16, collate_fn=lambda b: collate(b, width=200))
cut, told["compiled"] = passed(wide)
assert widths(cut[0]) == [64, 64]
_compilers.clear()
"""

# Each defines `loader` of sixteen rows a batch; trim must leave every batch alone.
REFUSED = {
    "no mask": ("collate(b, mask=False)", "no attention_mask"),
    "pad id is the end's, no mask": ("{'input_ids': collate(b)['input_ids']}", "no attention_mask"),
    "a bare pair": ("tuple(collate(b).values())", "no attention_mask"),
    "inverted mask": ("dict(collate(b), attention_mask=collate(b)['input_ids'] == 0)", "input_ids"),
    "mask to add": (
        "dict(collate(b), attention_mask=(collate(b)['input_ids'] == 0) * -1e9)",
        "numbers to add",
    ),
    "four dimensions": (
        "dict(collate(b), pairs=torch.zeros(16, 1, 64, 64))",
        "`pairs` of shape (16, 1, 64, 64)",
    ),
    "boxes": ("dict(collate(b), bbox=torch.zeros(16, 64, 4))", "`bbox` of shape"),
    "labels as wide as the mask": (
        "dict(collate(b), labels=torch.arange(16 * 64).reshape(16, 64))",
        "`labels` holds more than padding",
    ),
    "weights of places": ("dict(collate(b), weights=torch.ones(16, 64))", "`weights` holds more"),
    "lists": ("dict(collate(b), labels=[[0] * 64] * 16)", "`labels` may be as wide"),
    "no ids": ("{'attention_mask': collate(b)['attention_mask']}", "no input_ids"),
    "broken": ("Broken(collate(b))", "it fails"),
}

GROUP = """
rows = rows_of(2000)
def shuffled(data=None, **more):
    more = {"batch_size": 16, "collate_fn": collate, "shuffle": True, **more}
    return DataLoader(data or Items(rows), generator=torch.Generator().manual_seed(3), **more)
def span(batches):
    lengths = [[len(rows[i]) for i in b["rows"]] for b in batches]
    return sum(max(x) - min(x) for x in lengths) / len(lengths)
plain, _ = passed(shuffled(), "", 3)
for workers in (0, 2):
    data = Items(rows)
    grouped, notes = passed(shuffled(data, num_workers=workers), "group=20", 3)
    assert notes["nlp_window"] == 20
    assert order(grouped[0]) == order(plain[0])  # nothing is known yet
    for a, b in zip(plain[1:], grouped[1:]):
        assert [len(x) for x in order(a)] == [len(x) for x in order(b)]
        # Every row stays in its window of twenty batches.
        for i in range(0, 125, 20):
            assert sorted(sum(order(a)[i:i+20], [])) == sorted(sum(order(b)[i:i+20], []))
        assert span(b) < 0.2 * span(a)
    if not workers: assert data.read == 3 * 2000  # none is read twice
    told["masks, %d workers" % workers] = notes
again, _ = passed(shuffled(), "group=20", 3)
assert [order(e) for e in again] == [order(e) for e in grouped]
# A column tells it from the start: of a list, of a subset, of Hugging Face's kind.
listed = [{"input_ids": r.tolist(), "i": i} for i, r in enumerate(rows)]
def of_dicts(batch): return collate([(b["i"], torch.tensor(b["input_ids"])) for b in batch])
class Table(Dataset):
    column_names = ["length", "i"]
    def __len__(self): return 2000
    def __getitem__(self, at):
        return [len(r) for r in rows] if at == "length" else (at, rows[at])
for name, loader in {
    "list": shuffled(listed, collate_fn=of_dicts), "table": shuffled(Table()),
    "subset": shuffled(Subset(listed, range(1999)), collate_fn=of_dicts, persistent_workers=True,
                       num_workers=1),
}.items():
    grouped, told[name] = passed(loader, "group=20", 2)
    assert span(grouped[0]) < 5 and span(grouped[1]) < 5, name
    assert len(loader) == len(grouped[0]) == 125
    assert order(grouped[0]) != order(grouped[1])
# What is dropped, or in the smaller last batch, is as the job's own order says.
for drop in (False, True):
    few = listed[:1990]
    plain, _ = passed(shuffled(few, collate_fn=of_dicts, drop_last=drop), "")
    mine, _ = passed(shuffled(few, collate_fn=of_dicts, drop_last=drop), "group=20")
    assert sorted(sum(order(plain[0]), [])) == sorted(sum(order(mine[0]), []))
    assert len(order(mine[0])) == 124 + (not drop)
    if not drop: assert order(plain[0])[-1] == order(mine[0])[-1]
# A loop that leaves an epoch and comes again learns on, of the right rows.
loader = shuffled(num_workers=2)
probe._remedies = Remedies({"group": "20"}, 0, {}.__setitem__)
for batch in loader: break
for _ in range(2): seen = list(loader)
assert span(seen) < 5
# In a trial lengths are read ahead of the steps.
data = Items(rows)
trial, told["trial"] = passed(shuffled(data), "trim,group=20", 1, trial=40)
assert span(trial[0][:40]) < 5
assert 2000 < data.read < 2 * 2000
# A set of 175 rows has small windows; of twenty there are too few.
small, told["175"] = passed(shuffled(listed[:175], collate_fn=of_dicts), "group=50")
assert sorted(sum(order(small[0]), [])) == list(range(175))
assert told["175"]["nlp_window"] == 2
# Batches that are something else, or data that grow, are no reason to fail.
class Odd(dict):
    def get(self, *_): raise RuntimeError("no such thing")
odd, told["odd"] = passed(shuffled(collate_fn=lambda b: Odd()), "trim,group=20", 2)
assert len(odd[1]) == 125
for name in ("nlp_trim", "nlp_group"): assert "no such thing" in told["odd"][name]
del told["odd"]
grown = Items(rows[:1600])
loader = DataLoader(grown, 16, shuffle=True, collate_fn=collate)
passed(loader, "group=20")
grown.rows = rows
more, _ = passed(loader, "group=20")
assert sorted(sum(order(more[0]), [])) == list(range(2000))
# Lengths that change from one reading to the next are hints, and nothing more.
class Cropped(Items):
    def __getitem__(self, i): return i, self.rows[i][random.randrange(2):]
grouped, _ = passed(shuffled(Cropped(rows)), "group=20", 2)
assert sorted(sum(order(grouped[1]), [])) == list(range(2000))
"""
UNGROUPED = {
    "in order": ("DataLoader(Items(rows), 16, collate_fn=collate)", "a SequentialSampler's"),
    "weighted": (
        "DataLoader(Items(rows), 16, collate_fn=collate,"
        " sampler=WeightedRandomSampler([1.0] * 240, 240))",
        "a WeightedRandomSampler's",
    ),
    "distributed": (
        "DataLoader(Items(rows), 16, collate_fn=collate,"
        " sampler=DistributedSampler(rows, num_replicas=2, rank=0))",
        "a DistributedSampler's",
    ),
    "own batches": (
        "DataLoader(Items(rows), collate_fn=collate, batch_sampler=[[0, 1], [2, 3]])",
        "a batch sampler of its own, list",
    ),
    "a stream": ("DataLoader(Stream(), 16, collate_fn=collate)", "an IterableDataset has no rows"),
    "batches already": (
        "DataLoader([collate(list(enumerate(rows))[:16])], batch_size=None)",
        "in batches already",
    ),
    "few": (
        "DataLoader(Items(rows[:20]), 16, shuffle=True, collate_fn=collate)",
        "20 rows in batches of 16 are too few",
    ),
    "no mask": (
        "DataLoader(Items(rows), 16, shuffle=True, collate_fn=lambda b: collate(b, mask=False))",
        "no attention_mask",
    ),
    "rows left out": (
        "DataLoader(Items(rows), 16, shuffle=True, collate_fn=lambda b: collate(b[:9]))",
        "its masks told the lengths of 0 of 240 rows only",
    ),
}


def told_by(run: Run, folder: Path, script: str, **env: str) -> dict[str, Any]:
    run(SCRIPT + script + END, FOLDER=str(folder), **env)
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return told


@needs("torch")
def test_columns_that_are_padding_in_every_row_are_cut(run: Run, tmp_path: Path) -> None:
    told = told_by(run, tmp_path, TRIM)
    assert {case: notes["nlp_trim"] for case, notes in told.items()} == dict.fromkeys(told, "on")


@needs("torch")
def test_what_may_be_as_wide_as_the_mask_is_left_whole(run: Run, tmp_path: Path) -> None:
    lines = [
        "class Broken(dict):\n    def __copy__(self): raise RuntimeError('no')",
        "rows = rows_of(32)",
    ]
    for case, (batch, _) in REFUSED.items():
        lines += [
            f"loader = DataLoader(Items(rows), 16, collate_fn=lambda b: {batch})",
            "a, b = passed(loader, '')[0][0], passed(loader)",
            f"told[{case!r}] = b[1]",
            "assert str(a) == str(b[0][0])",
        ]
    told = told_by(run, tmp_path, "\n".join(lines))
    for case, (_, reason) in REFUSED.items():
        assert told[case]["nlp_trim"].startswith("off: "), case
        assert reason in told[case]["nlp_trim"], case


@needs("torch")
def test_rows_of_like_lengths_share_a_batch(run: Run, tmp_path: Path) -> None:
    told = told_by(run, tmp_path, GROUP)
    columns = ("list", "table", "subset", "175")
    for case, notes in told.items():
        how = "a column" if case in columns else "the masks of the first epoch"
        assert notes["nlp_group"] == f"on: lengths by {how}", case


@needs("torch")
def test_another_order_than_a_plain_random_one_is_left_alone(run: Run, tmp_path: Path) -> None:
    lines = [
        "class Stream(IterableDataset):\n    def __iter__(self): return iter(enumerate(rows))",
        "rows = rows_of()",
    ]
    for case, (loader, _) in UNGROUPED.items():
        lines += [
            "torch.manual_seed(4)",
            f"loader = {loader}",
            "plain = passed(loader, '', 2)[0]",
            "torch.manual_seed(4)",
            f"loader = {loader}",
            f"seen, told[{case!r}] = passed(loader, 'group=4', 2)",
            "assert str(plain) == str(seen)",
        ]
    told = told_by(run, tmp_path, "\n".join(lines))
    for case, (_, reason) in UNGROUPED.items():
        assert reason in told[case]["nlp_group"], case


@needs("torch")
@pytest.mark.parametrize(
    ("env", "setup"),
    [
        ({"WORLD_SIZE": "2"}, ""),
        (
            {},
            "torch.distributed.init_process_group('gloo', rank=0, world_size=1,"
            " init_method='file://' + os.environ['FOLDER'] + '/meet')\n"
            "torch.distributed.get_world_size = lambda: 2",
        ),
    ],
    ids=["by its environment", "by its process group"],
)
def test_ranks_that_must_make_equally_many_steps_are_left_alone(
    run: Run, tmp_path: Path, env: dict[str, str], setup: str
) -> None:
    told = told_by(
        run,
        tmp_path,
        f"""{setup}
loader = DataLoader(Items(rows_of()), 16, shuffle=True, collate_fn=collate)
seen, told["notes"] = passed(loader, "trim,group=4", 2)
assert set(widths(seen[1])) == {{64}}
""",
        **env,
    )
    reason = "off: the job has several ranks"
    assert told["notes"] == {"nlp_trim": reason, "nlp_group": reason}


@needs("torch")
def test_the_job_files_wish_reaches_the_batches(run: Run, tmp_path: Path) -> None:
    """By the variable alone, as `profile` and `run` set it; torch.compile is noticed."""
    script = """
import torch
from torch.utils.data import DataLoader
rows = [{"input_ids": torch.ones(300, dtype=torch.long), "attention_mask": torch.zeros(300)}] * 32
for row in rows: row["attention_mask"][:7] = 1
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for compiled in (False, True):
    if compiled: torch.compile(model)
    for batch in DataLoader(rows, 4, shuffle=True):
        assert batch["input_ids"].shape == (4, 64 if compiled else 7)
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
"""
    _, notes = run(script, MLBROKER_NLP="trim,group=4")
    said = {note.key: note.value for note in notes}
    assert said["nlp_trim"] == "on"
    assert said["nlp_group"].startswith("off: ")
    assert said["tokens_padded"] != said["tokens_real"] or int(said["tokens_steps"]) <= 8
