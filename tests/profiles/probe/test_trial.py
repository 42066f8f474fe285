"""Losses with and without trim, as a trial compares them: who looks at padding is caught."""

import json
from pathlib import Path

from tests.support.hooks import Run, needs, said

from mlbroker.profiles.trying import SAME_LOSS, largest_difference, losses_of

# Each makes `loss(batch)` with weights of its own, in `made`.
MODELS = {
    "masked mean": ("encoder = layer()", "pooled(encode(b, encoder), b)", True),
    "masked mean, dropout": ("encoder = layer(0.3)", "pooled(encode(b, encoder), b)", True),
    "token labels": ("encoder = layer()", "tokens(encode(b, encoder), b)", True),
    "positions of its own, right": (
        "encoder, place = layer(), nn.Embedding(64, 32)",
        "pooled(encode(b, encoder, place(torch.arange(b['input_ids'].shape[1]))), b)",
        True,
    ),
    "positions of its own, left": (
        "encoder, place, LEFT = layer(), nn.Embedding(64, 32), True",
        "pooled(encode(b, encoder, place(torch.arange(b['input_ids'].shape[1]))), b)",
        False,
    ),
    "positions by the mask, left": (
        "encoder, place, LEFT = layer(), nn.Embedding(65, 32), True",
        "pooled(encode(b, encoder, place(b['attention_mask'].cumsum(1))), b)",
        True,
    ),
    "attends to padding": ("encoder = layer()", "pooled(encoder(table(b['input_ids'])), b)", False),
    "mean without a mask": ("encoder = layer()", "fit(encode(b, encoder).mean(1))", False),
    "convolution": (
        "net = nn.Conv1d(32, 32, 3, padding=1)",
        "fit(net(table(b['input_ids']).transpose(1, 2)).amax(2))",
        False,
    ),
    "last state": ("net = nn.LSTM(32, 32, batch_first=True)",
                   "fit(net(table(b['input_ids']))[1][0][0])", False),
}  # fmt: skip
SCRIPT = """
import json, os, sys, torch
from torch import nn
from torch.utils.data import DataLoader
import mlbroker_probe._torch as probe, mlbroker_probe._trial as trial
from mlbroker_probe._remedies import Remedies
from mlbroker_probe._trial import Losses
def layer(dropout=0.0):
    return nn.TransformerEncoderLayer(32, 4, 64, dropout=dropout, batch_first=True)
def encode(b, encoder, extra=0):
    return encoder(table(b["input_ids"]) + extra, src_key_padding_mask=b["attention_mask"] == 0)
def fit(hidden): return nn.functional.cross_entropy(out(hidden), labels)
def pooled(hidden, b):
    mask = b["attention_mask"][:, :, None]
    return fit((hidden * mask).sum(1) / mask.sum(1))
def tokens(hidden, b):
    wanted = b["labels"].where(b["labels"] < 0, b["labels"] % 5)
    return nn.functional.cross_entropy(out(hidden).flatten(0, 1), wanted.flatten())
def collate(rows):
    ids = torch.zeros(len(rows), 64, dtype=torch.long)
    for i, row in enumerate(rows):
        if LEFT: ids[i, 64 - len(row):] = row
        else: ids[i, :len(row)] = row
    mask = (ids != 0).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
rows = [torch.randint(1, 90, (n,)) for n in torch.randint(3, 40, (96,)).tolist()]
labels = torch.randint(0, 5, (16,))
found = {}
backward = torch.Tensor.backward
for name, (make, loss, _) in json.load(open(os.environ["FOLDER"] + "/models.json")).items():
    told = {}
    for remedies in ("", "trim"):
        torch.manual_seed(2)
        LEFT, notes = False, {}
        table, out = nn.Embedding(90, 32), nn.Linear(32, 5)
        exec(make)
        weights = {id(p): p for m in list(globals().values()) if isinstance(m, nn.Module)
                   for p in m.parameters()}
        optimizer = torch.optim.AdamW(weights.values(), lr=1e-3)
        probe._remedies = Remedies({remedies: ""}, 6, notes.__setitem__)
        losses = Losses(1, 0, notes.__setitem__)
        for b in DataLoader(rows, 16, collate_fn=collate):
            value = eval(loss)
            optimizer.zero_grad()
            losses.saw(value)
            backward(value)
            optimizer.step()
        told[remedies] = notes
    found[name] = told
json.dump(found, open(os.environ["FOLDER"] + "/told.json", "w"))
"""


@needs("torch")
def test_equal_losses_tell_models_that_look_at_padding_from_those_that_do_not(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    run(SCRIPT, FOLDER=str(tmp_path), MLBROKER_TRY_STEPS="6", MLBROKER_TRY_CHECK="1")
    told = json.loads((tmp_path / "told.json").read_text())
    for name, (_, _, same) in MODELS.items():
        plain, trim = told[name][""], told[name]["trim"]
        assert trim["nlp_trim"] == "on", name
        gap = largest_difference(losses_of(plain), losses_of(trim))
        assert gap is not None
        assert (gap <= SAME_LOSS) == same, (name, gap)


@needs("torch")
def test_losses_are_told_in_their_order_and_cost_no_waiting(run: Run) -> None:
    """As the variables alone ask for it; those not told yet are too young to be waited for."""
    script = """
import torch
weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=0.0)
for i in range(40):
    (weight * i).sum().backward()
    torch.autograd.backward(weight * 2)
    optimizer.step()
"""
    _, notes = run(script, MLBROKER_TRY_STEPS="40")
    assert losses_of(said(notes)) == list(range(32))
