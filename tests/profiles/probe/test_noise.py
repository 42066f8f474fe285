"""The noise scale is that of single samples, however a job trains; what spoils it is told."""

import json
from pathlib import Path

import pytest
from tests.support.hooks import Run, needs
from tests.support.noisy import DDP_MODES, MODES, SCRIPT

from mlbroker.profiles.noise_seen import noise_of

# Each trains with `steps(make)`, and is given what the probe is to say of it.
UNKNOWN = {
    "several optimizers": """
second = torch.optim.SGD([torch.nn.Parameter(torch.ones(1, requires_grad=True))], 0.1)
for _ in range(4): step(); second.step()""",
    "sparse gradients": """
table = torch.nn.Embedding(50, 4, sparse=True)
optimizer = torch.optim.SGD(table.parameters(), 0.1)
for _ in range(4): table(torch.tensor([1, 2])).sum().backward(); optimizer.step()""",
    "an optimizer that asks for several gradients a step": """
optimizer = torch.optim.LBFGS(model.parameters())
optimizer.step(lambda: model(torch.ones(8, 3)).sum())""",
    "a batch goes through several passes": """
for (x,) in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(32, 3)), 8):
    model(x).sum().backward(); model(x).mean().backward()
    optimizer.step()""",
    "shards of FSDP": """
class DTensor(torch.nn.Parameter): pass
optimizer = torch.optim.SGD([DTensor(torch.ones(3))], 0.1); optimizer.step()""",
    "no gradients of its parameters": "for _ in range(4): optimizer.step()",
    "looking at the gradients failed": """
watched.places = None
for _ in range(4): step()""",
}
KINDS = """
import json, os, pickle, torch, warnings
import mlbroker_probe._noise as watched
import mlbroker_probe._torch as probe
from mlbroker_probe._gradients import places
warnings.simplefilter("error", UserWarning)
told = {}
for why, code in json.load(open(os.environ["KINDS"])).items():
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    probe._noise = watched.Noise()
    def step():
        model(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
    exec(code)
    told[why] = probe._noise.notes(), len(probe._noise._handles)
# Epochs of five equal batches and a short one.
probe._noise, watched.places = watched.Noise(), places
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
rows = torch.utils.data.TensorDataset(torch.randn(43, 3))
for _ in range(20):
    for (x,) in torch.utils.data.DataLoader(rows, 8):
        model(x).square().sum().backward(); optimizer.step(); optimizer.zero_grad()
told["short"] = dict(probe._noise.notes())
# A model is saved whole while it is looked at.
probe._noise, watched.places = watched.Noise(), places
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
step()
assert model.weight._backward_hooks
pickle.loads(pickle.dumps(model))
json.dump(told, open(os.environ["TOLD"], "w"))
"""
# Steps of some hundred microseconds: far too fast to be looked at one in fifty.
FAST = """
import json, os, time, torch
import mlbroker_probe._torch as probe
torch.set_num_threads(1)
model = torch.nn.Sequential(*(torch.nn.Linear(32, 32) for _ in range(4)))
optimizer = torch.optim.SGD(model.parameters(), 1e-4)
began = time.perf_counter()
for _ in range(1500):
    model(torch.randn(8, 32)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
noise = probe._noise
json.dump([noise.cost.spent_s, time.perf_counter() - began, noise._means.looks],
          open(os.environ["TOLD"], "w"))
"""


@needs("torch")
@pytest.mark.parametrize("modes", [MODES, DDP_MODES], ids=["one process", "two ranks"])
def test_noise_is_that_of_single_samples(run: Run, tmp_path: Path, modes: tuple[str, ...]) -> None:
    """One process for all of them: to load torch takes seconds."""
    run(SCRIPT, FOLDER=str(tmp_path), MODES=";".join(modes), GLOO_SOCKET_IFNAME="lo")
    told = json.loads((tmp_path / "told.json").read_text())
    for mode in modes:
        seen = noise_of(told[mode]["notes"])
        assert seen is not None, (mode, told[mode])
        assert seen.noise == pytest.approx(told[mode]["truth"], rel=0.25), (mode, seen)
        ranks = 2 if modes is DDP_MODES else 1
        passes = 4 if mode == "clipping" or "accumulation" in mode else 1
        assert seen.batch == 32 * passes * ranks, mode
        assert 0 < seen.sigma_log < 0.1, mode


@needs("torch")
def test_what_spoils_it_is_told_and_ends_the_looking(run: Run, tmp_path: Path) -> None:
    kinds, told = tmp_path / "kinds.json", tmp_path / "told.json"
    kinds.write_text(json.dumps(UNKNOWN))
    run(KINDS, KINDS=str(kinds), TOLD=str(told))
    found = json.loads(told.read_text())
    short = found.pop("short")
    assert short["noise_looks"] > 3
    assert short["noise_batch"] == 8
    assert found == {why: [[["noise_unknown", why]], 0] for why in UNKNOWN}


@needs("torch")
def test_looking_takes_no_more_than_its_share(run: Run, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    run(FAST, TOLD=str(told))
    spent_s, took_s, looks = json.loads(told.read_text())
    assert looks > 0
    # What one look takes more than is left of the share, it cannot know before.
    assert spent_s <= 0.01 * took_s + 0.03


@needs("torch")
def test_a_run_is_not_looked_at(run: Run, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    run(FAST, TOLD=str(told), MLBROKER_PROBE_EVERY_S="1")
    assert json.loads(told.read_text())[::2] == [0, 0]
