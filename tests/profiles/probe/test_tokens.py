"""Real tokens and padding are counted as they are, whoever collates, and at almost no cost."""

import pytest
from tests.support.hooks import Run, needs, said

from mlbroker.profiles.tokens import Tokens, tokens_of

# Every script prints nothing: it asserts by itself what was counted, where it knows.
SCRIPT = """
import functools, random, torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
random.seed(1); torch.manual_seed(1)
rows = [torch.randint(1, 900, (random.randint(3, 60),)) for _ in range(240)]
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
def train(loader, turns=1):
    for _ in range(turns):
        for batch in loader:
            model(torch.ones(1, 1)).sum().backward()
            optimizer.step()
%s
# What is exact is tested here, not what is left out to be quick.
import sys
import mlbroker_probe._tokens as t
t.MOST_SHARE = 1e9
train(loader)
"""
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
    "pad id of a tokenizer, left": """
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
    "mask, of batches by length": """
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


@needs("torch")
@pytest.mark.parametrize("kind", COLLATORS)
def test_counts_are_exact(run: Run, kind: str) -> None:
    truth = """
import mlbroker_probe._torch as p, atexit
def check():
    real, told = sum(map(len, rows)), p._tokens
    assert told.steps == 15, told.steps
    assert told.real == real, (told.real, real)
    if told.by == "packed": assert told.padded == real
    else: assert told.padded > real
    sys.stdout.flush()
"""
    script = SCRIPT % COLLATORS[kind] + truth + "check()\n"
    _, notes = run(script)
    tokens = tokens_of(said(notes))
    assert tokens is not None
    assert tokens.by == kind.partition(",")[0].partition(" of ")[0]
    assert sum(tokens.lengths.values()) == tokens.steps * (1 if kind == "packed" else 16)


@needs("torch")
@pytest.mark.parametrize(
    "loader",
    [
        "loader = DataLoader(torch.randn(240, 3, 8, 8), 16)",
        "loader = DataLoader(torch.randint(0, 9, (240, 26)), 16)",
        "loader = DataLoader([{'x': torch.ones(3), 'y': 1}] * 240, 16)",
    ],
)
def test_what_is_no_text_has_no_tokens(run: Run, loader: str) -> None:
    assert counted(run, loader) is None


@needs("torch")
def test_evaluation_between_the_steps_is_not_counted(run: Run) -> None:
    steps = """
held_out = DataLoader(Items(), 60, collate_fn=collate)
for _ in range(2):
    train(loader)
    for batch in held_out: pass
"""
    tokens = counted(run, COLLATORS["mask"] + steps)
    assert tokens is not None
    assert sum(tokens.lengths.values()) % 16 == 0


@needs("torch")
def test_watching_takes_no_more_than_its_share(run: Run) -> None:
    # A step of some ten microseconds is far too fast to look at each of its batches.
    script = (
        (SCRIPT % COLLATORS["mask"]).replace("t.MOST_SHARE = 1e9", "import time")
        + """
import mlbroker_probe._torch as p
began = time.perf_counter()
train(loader, 60)
took, told = time.perf_counter() - began, p._tokens
assert 0 < told.steps < 915, told.steps
assert told._spent_s <= 0.005 * took + 0.01, (told._spent_s, took)
"""
    )
    run(script)


def counted(run: Run, loader: str) -> Tokens | None:
    _, notes = run(SCRIPT % loader)
    return tokens_of(said(notes))
