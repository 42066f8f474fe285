"""Real tokens and padding are counted as they are, whoever collates, and at almost no cost."""

import json
from pathlib import Path

from tests.support.hooks import Run, needs

from mlbroker.profiles.tokens import tokens_of

SCRIPT = """
import json, os, random, sys, time, torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
import mlbroker_probe._tokens as watched
import mlbroker_probe._torch as probe
# What is exact is tested here, not what is left out to be quick.
watched.MOST_SHARE = 1e9
TURNS = 1
class Items(torch.utils.data.Dataset):
    def __len__(self): return len(rows)
    def __getitem__(self, i): return rows[i]
def padded(batch, value=0, width=None, left=False):
    if width: batch = [*batch, torch.zeros(width, dtype=torch.long)]
    ids = pad_sequence([r.flip(0) if left else r for r in batch], batch_first=True,
                       padding_value=value)
    ids = ids[:-1] if width else ids
    return ids.flip(1) if left else ids
def masks(batch, ids, left=False):
    lengths = torch.tensor([[len(r)] for r in batch])
    mask = (torch.arange(ids.shape[1])[None] < lengths).long()
    return mask.flip(1) if left else mask
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def train(loader):
    for batch in loader:
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
folder, told = os.environ["FOLDER"], {}
for kind, code in json.load(open(folder + "/kinds.json")).items():
    random.seed(1); torch.manual_seed(1)
    rows = [torch.randint(1, 900, (random.randint(3, 60),)) for _ in range(240)]
    exec(code)
    began, probe._tokens, probe._batches_per_step = time.perf_counter(), watched.Tokens(), {}
    if "evaluated" in kind: exec(code)
    for _ in range(TURNS): train(loader)
    tokens = probe._tokens
    told[kind] = {
        "real": sum(map(len, rows)), "steps": 15 * TURNS, "spent_s": tokens._spent_s,
        "took_s": time.perf_counter() - began,
        "notes": {key: str(value) for key, value in tokens.notes()},
    }
json.dump(told, open(folder + "/told.json", "w"))
"""
FAST = SCRIPT.replace("watched.MOST_SHARE = 1e9", "").replace("TURNS = 1", "TURNS = 60")
# Each defines `loader`, over all 240 rows; what they hold in reality is the same.
COLLATORS = {
    "mask": """
def collate(b):
    ids = padded(b); return {"input_ids": ids, "attention_mask": masks(b, ids)}
loader = DataLoader(Items(), 16, shuffle=True, collate_fn=collate)""",
    "mask, left": """
def collate(b):
    ids = padded(b, left=True)
    return {"input_ids": ids, "attention_mask": masks(b, ids, left=True)}
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "mask, to the maximum": """
def collate(b):
    ids = padded(b, width=64); return {"input_ids": ids, "attention_mask": masks(b, ids)}
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "mask, in a pair, with workers": """
def collate(b):
    ids = padded(b)
    return {"input_ids": ids, "attention_mask": masks(b, ids).bool()}, torch.zeros(len(b))
loader = DataLoader(Items(), 16, collate_fn=collate, num_workers=2)""",
    "pad id": """
class Collator:
    pad_token_id = 903
    def __call__(self, b): return {"input_ids": padded(b, 903)}
loader = DataLoader(Items(), 16, collate_fn=Collator())""",
    "pad id, of a tokenizer, left": """
class Tokenizer: pad_token_id, eos_token_id = 903, 904
class Collator:
    tokenizer = Tokenizer()
    def __call__(self, b): return {"input_ids": padded(b, 903, left=True)}
loader = DataLoader(Items(), 16, collate_fn=Collator())""",
    "guess": """
def collate(b): return padded(b), torch.zeros(len(b))
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "guess, pad id is the end's": """
rows = [torch.cat([r[:-1], torch.tensor([904])]) for r in rows]
class Tokenizer: pad_token_id, eos_token_id = 904, 904
class Collator:
    tokenizer = Tokenizer()
    def __call__(self, b): return {"input_ids": padded(b, 904)}
loader = DataLoader(Items(), 16, collate_fn=Collator())""",
    "labels": """
def collate(b):
    ids = padded(b, 903); return ids, ids.masked_fill(ids == 903, -100)
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "labels, of an end that is the pad id, left": """
rows = [torch.cat([r[:-1], torch.tensor([904])]) for r in rows]
class Collator:
    pad_token_id, eos_token_id = 904, 904
    def __call__(self, b):
        ids = padded(b, 904, left=True)
        return {"input_ids": ids, "labels": ids.where(masks(b, ids, left=True) == 1, -100)}
loader = DataLoader(Items(), 16, collate_fn=Collator())""",
    "labels, of answers alone": """
# Of each row the first half is a prompt, and has no label either.
def collate(b):
    ids = padded(b)
    prompt = torch.arange(ids.shape[1])[None] < torch.tensor([[len(r) // 2] for r in b])
    return {"input_ids": ids, "labels": ids.masked_fill((ids == 0) | prompt, -100)}
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "labels, beside, of masked words": """
# Most words have no label, and one stands often twice; what is beside may be another table.
rows = [r.clamp(max=3) for r in rows]
def collate(b):
    ids = padded(b, 903)
    labels = ids.where((torch.rand(ids.shape) < 0.15) & (ids != 903), -100)
    return {"input_ids": ids}, torch.zeros(ids.shape), labels
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "guess, labels of the padding too": """
def collate(b): ids = padded(b); return {"input_ids": ids, "labels": ids}
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "packed, with labels": """
def collate(b):
    ids = torch.cat(b)[None]
    return {"input_ids": ids, "labels": ids, "position_ids": torch.arange(ids.shape[1])[None]}
loader = DataLoader(Items(), 16, collate_fn=collate)""",
    "mask, by length": """
order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
batches = [order[i:i + 16] for i in range(0, 240, 16)]
def collate(b):
    ids = padded(b); return {"input_ids": ids, "attention_mask": masks(b, ids)}
loader = DataLoader(Items(), batch_sampler=batches, collate_fn=collate)""",
    "packed": """
def collate(b):
    return {"input_ids": torch.cat(b)[None],
            "position_ids": torch.cat([torch.arange(len(r)) for r in b])[None]}
loader = DataLoader(Items(), 16, collate_fn=collate)""",
}


NO_TEXT = {
    "images": "loader = DataLoader(torch.randn(240, 3, 8, 8), 16)",
    "categories": "loader = DataLoader(torch.randint(0, 9, (240, 26)), 16)",
    "broken": """
class Broken(dict):
    def get(self, *_): raise RuntimeError("no such thing")
loader = DataLoader(Items(), 16, collate_fn=lambda batch: Broken())""",
    "table": "loader = DataLoader([{'x': torch.ones(3), 'y': 1}] * 240, 16)",
}
EVALUATED = """
held_out = DataLoader(Items(), 60, collate_fn=collate)
for _ in range(2):
    train(loader)
    for batch in held_out: pass
"""


@needs("torch")
def test_counts_are_exact(run: Run, tmp_path: Path) -> None:
    """One process for all of them: to load torch takes seconds."""
    kinds = {**COLLATORS, **NO_TEXT, "mask, evaluated": COLLATORS["mask"] + EVALUATED}
    (tmp_path / "kinds.json").write_text(json.dumps(kinds))
    run(SCRIPT, FOLDER=str(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())
    for kind in kinds:
        tokens = tokens_of(told[kind]["notes"])
        if kind in NO_TEXT:
            assert tokens is None, kind
            continue
        assert tokens is not None, kind
        epochs = 3 if "evaluated" in kind else 1
        assert (tokens.steps, tokens.real) == (15 * epochs, told[kind]["real"] * epochs), kind
        assert (tokens.padding_share == 0) == kind.startswith("packed"), kind
        assert (tokens.labelled is not None) == ("labels" in kind), kind
        assert tokens.by == kind.partition(",")[0], kind
        rows = 1 if kind.startswith("packed") else 16
        assert sum(tokens.lengths.values()) == tokens.steps * rows, kind


@needs("torch")
def test_places_that_bear_a_loss_are_counted(run: Run, tmp_path: Path) -> None:
    names = ("labels", "labels, of answers alone", "guess, labels of the padding too")
    (tmp_path / "kinds.json").write_text(json.dumps({name: COLLATORS[name] for name in names}))
    run(SCRIPT, FOLDER=str(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())
    whole, answers, all_ = (tokens_of(told[name]["notes"]) for name in names)
    assert whole is not None
    assert answers is not None
    assert all_ is not None
    assert whole.labelled == whole.real
    # Of 240 rows half, and a word more of those of an odd length.
    assert 0 <= 2 * (answers.labelled or 0) - answers.real <= 240
    assert (all_.labelled, all_.labelled_share) == (all_.padded, 1.0)


@needs("torch")
def test_watching_takes_no_more_than_its_share(run: Run, tmp_path: Path) -> None:
    # A step of some ten microseconds is far too fast to look at each of its batches.
    (tmp_path / "kinds.json").write_text(json.dumps({"mask": COLLATORS["mask"]}))
    run(FAST, FOLDER=str(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())["mask"]
    assert 0 < int(told["notes"]["tokens_steps"]) < told["steps"]
    # What one look takes more than is left of the share, it cannot know before.
    assert told["spent_s"] <= 0.005 * told["took_s"] + 0.02
