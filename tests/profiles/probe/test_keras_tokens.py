"""Texts that Keras feeds to a model on PyTorch are counted as they are, by each data adapter."""

import json
from pathlib import Path

from tests.support.hooks import Run, needs, said

from mlbroker.profiles.tokens import tokens_of

# Each makes `fit`: two epochs of 96 rows in batches of 8.
CASES = {
    "mask": "fit = lambda: named().fit(table(), labels, batch_size=8, **two)",
    "mask, evaluated": (
        "fit = lambda: named().fit(table(), labels, batch_size=8,"
        " validation_data=(table(), labels), **two)"
    ),
    "mask, by a PyDataset": "fit = lambda: named().fit(Rows(table(), 8), **two)",
    "mask, by a PyDataset with workers": (
        "fit = lambda: named().fit(Rows(table(), 8, workers=2), **two)"
    ),
    "mask, by a generator": (
        "fit = lambda: named().fit(forever(Rows(table(), 8)), steps_per_epoch=12, **two)"
    ),
    "mask, by a DataLoader": (
        "fit = lambda: named().fit(torch.utils.data.DataLoader(Rows8(table()), 8), **two)"
    ),
    "guess": "fit = lambda: plain().fit(ids, labels, batch_size=8, **two)",
}
SCRIPT = """
import json, os, numpy as np, torch, keras
import mlbroker_probe._tokens as watched, mlbroker_probe._torch as probe
import mlbroker_probe._keras as hook
watched.MOST_SHARE = 1e9
chance = np.random.default_rng(1)
lengths = chance.integers(3, 40, 96)
ids = np.where(np.arange(48) < lengths[:, None], chance.integers(1, 90, (96, 48)), 0)
labels = chance.random((96, 1))
two = {"epochs": 2, "verbose": 0}
def table(): return {"token_ids": ids, "padding_mask": ids != 0}
class Rows(keras.utils.PyDataset):
    def __init__(self, x, size, **more):
        super().__init__(**more)
        self.x, self.size = x, size
    def __len__(self): return 96 // self.size
    def __getitem__(self, i):
        part = slice(i * self.size, (i + 1) * self.size)
        return {name: value[part] for name, value in self.x.items()}, labels[part]
class Rows8(torch.utils.data.Dataset):
    def __init__(self, x): self.x = x
    def __len__(self): return 96
    def __getitem__(self, i): return {n: v[i] for n, v in self.x.items()}, labels[i]
def forever(rows):
    while True:
        for i in range(len(rows)): yield rows[i]
class Watched(keras.Model):
    # What it is trained on is what is to be counted: Keras looks at a batch before it begins, and
    # leaves one out where workers have read ahead.
    def train_step(self, data):
        x = data[0]["token_ids"] if isinstance(data[0], dict) else data[0]
        trained.extend([int((x != 0).sum()), x.numel()])
        return super().train_step(data)
def compiled(inputs, x):
    hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(90, 4)(x))
    model = Watched(inputs, keras.layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    return model
def named():
    inputs = {"token_ids": keras.Input((48,), dtype="int32", name="token_ids"),
              "padding_mask": keras.Input((48,), dtype="bool", name="padding_mask")}
    return compiled(inputs, inputs["token_ids"])
def plain():
    x = keras.Input((48,), dtype="int32")
    return compiled(x, x)
told = {}
for name, code in json.load(open(os.environ["FOLDER"] + "/cases.json")).items():
    exec(code)
    probe._tokens, trained = watched.Tokens(), []
    fit()
    told[name] = {"real": sum(trained[::2]), "places": sum(trained[1::2]),
                  "notes": {key: str(value) for key, value in probe._tokens.notes()}}
json.dump(told, open(os.environ["FOLDER"] + "/told.json", "w"))
"""


@needs("keras")
@needs("torch")
def test_counts_are_exact(run: Run, tmp_path: Path) -> None:
    """One process for all of them: to load Keras takes seconds."""
    (tmp_path / "cases.json").write_text(json.dumps(CASES))
    run(SCRIPT, FOLDER=str(tmp_path), KERAS_BACKEND="torch")
    told = json.loads((tmp_path / "told.json").read_text())
    for name in CASES:
        tokens = tokens_of(told[name]["notes"])
        assert tokens is not None, name
        assert tokens.by == name.partition(",")[0], name
        assert tokens.steps == 24, name
        assert (tokens.real, tokens.padded) == (told[name]["real"], told[name]["places"]), name


@needs("keras")
@needs("torch")
def test_a_fit_tells_them_beside_its_steps(run: Run) -> None:
    script = """
import numpy as np, keras
import mlbroker_probe._tokens as watched
watched.MOST_SHARE = 1e9
x = np.where(np.arange(20) < 5, 7, 0) * np.ones((64, 1), int)
model = keras.Sequential([keras.Input((20,), dtype="int32"), keras.layers.Embedding(9, 1),
                          keras.layers.Flatten(), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, np.ones((64, 1)), batch_size=8, epochs=4, verbose=0)
"""
    _, notes = run(script, KERAS_BACKEND="torch")
    tokens = tokens_of(said(notes))
    assert tokens is not None
    assert tokens.padding_share == 0.75
