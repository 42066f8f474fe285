"""A trial's models compute in bfloat16, unless the job has a precision of its own."""

import json
from pathlib import Path

import pytest
from tests.support.hooks import Run, needs, said

# Each makes `call`, which is made twice, with the hook in place; `inside` collects dtypes.
CASES = {
    "plain": ("call = lambda: model(x)", "on"),
    "an output with names": ("call = lambda: Named()(x)['out']", "on"),
    "several outputs": ("call = lambda: Pair()(x)[0]", "on"),
    "a loss of its own": ("loss = nn.MSELoss(); call = lambda: loss(model(x), x)", "on"),
    "autocast left out within": ("call = lambda: Within(False)(x)", "on"),
    "autocast around": ("call = lambda: around(x)", "off: the job uses autocast already"),
    "autocast within": ("call = lambda: Within(True)(x)", "off: the job uses autocast already"),
    "weights of 64 bits": (
        "call = lambda: model.double()(x.double())", "off: it computes in float64 already",
    ),
    "a scaler": ("call = lambda: scaled(True)", "off: the job has a GradScaler"),
    "a scaler that is off": ("call = lambda: scaled(False)", "on"),
    "compiled": (
        "_compilers.add('torch.compile'); call = lambda: model(x)", "off: the job calls torch.com",
    ),
}  # fmt: skip
SCRIPT = """
import json, os, torch
from torch import nn
import mlbroker_probe._torch as probe
from mlbroker_probe._remedies import Remedies, _compilers
class Watched(nn.Module):
    def __init__(self): super().__init__(); self.linear = nn.Linear(8, 8)
    def forward(self, x):
        found = self.linear(x)
        inside.append(str(found.dtype))
        return found
class Named(Watched):
    def forward(self, x): return {"out": super().forward(x), "name": "n"}
class Pair(Watched):
    def forward(self, x): return super().forward(x), [super().forward(x)]
class Within(Watched):
    def __init__(self, on): super().__init__(); self.on = on
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.on): nn.Linear(8, 8)
        return super().forward(x)
def around(x):
    with torch.autocast("cpu", dtype=torch.bfloat16): return model(x).float()
def scaled(on):
    scaler = torch.amp.GradScaler("cpu", enabled=on)
    optimizer.zero_grad()
    scaler.scale(model(x).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return model(x)
told = {}
call_, enter = nn.Module.__call__, torch.amp.autocast_mode.autocast.__enter__
for name, (code, _) in json.load(open(os.environ["FOLDER"] + "/cases.json")).items():
    nn.Module.__call__, torch.amp.autocast_mode.autocast.__enter__ = call_, enter
    _compilers.clear(); torch.manual_seed(1)
    model, x, inside, notes = Watched(), torch.randn(4, 8), [], {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe._remedies = Remedies({"bf16": ""}, 6, notes.__setitem__)
    probe._remedies.found(torch)
    exec(code)
    call()
    out = call()
    told[name] = {"said": notes["nlp_bf16"], "out": str(out.dtype), "inside": inside[-1],
                  "weights": str(model.linear.weight.dtype)}
json.dump(told, open(os.environ["FOLDER"] + "/told.json", "w"))
"""


@needs("torch")
def test_models_compute_in_bfloat16_and_give_back_what_they_did(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps(CASES))
    run(SCRIPT, FOLDER=str(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())
    for name, (_, expected) in CASES.items():
        found = told[name]
        assert found["said"].startswith(expected), name
        whole = "torch.float64" if "64" in name else "torch.float32"
        assert (found["out"], found["weights"]) == (whole, whole), name
        own = "torch.bfloat16" if name == "autocast around" else whole
        assert found["inside"] == ("torch.bfloat16" if expected == "on" else own), name


@needs("torch")
@pytest.mark.parametrize("asked", ["bf16", ""])
def test_the_wish_of_a_trial_reaches_the_model(run: Run, asked: str) -> None:
    script = """
import torch
model = torch.nn.Linear(64, 64)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
seen = []
model.register_forward_hook(lambda model, given, found: seen.append(found.dtype))
for _ in range(3):
    model(torch.ones(2, 64)).sum().backward()
    optimizer.step()
assert (seen[-1] == torch.bfloat16) == bool(ASKED)
"""
    _, notes = run(script.replace("ASKED", repr(asked)), MLBROKER_NLP=asked)
    assert said(notes).get("nlp_bf16") == ("on" if asked else None)
