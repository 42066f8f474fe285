"""A small training whose gradient noise is known from the gradients of its single samples.

`SCRIPT` runs under the probe in a Python with torch, once for each mode in `MODES`, and writes
`told.json` into `FOLDER`: the truth over the second half of the steps, and what the probe says.
"""

MODES = ("single", "accumulation", "clipping", "AdamW", "scaled")
DDP_MODES = ("DDP", "DDP, accumulation")
SCRIPT = """
import json, os, subprocess, sys, torch
from contextlib import nullcontext
from torch.func import functional_call, grad, vmap
import mlbroker_probe._cost as _cost
import mlbroker_probe._noise as watched
import mlbroker_probe._torch as probe
# What is exact is tried here: as many looks as a long job has, in a short one.
_cost.MOST_SHARE, watched.RARELY = 1e9, 1
modes, folder = os.environ["MODES"].split(";"), os.environ["FOLDER"]
STEPS, ROWS = int(os.environ.get("STEPS", "320")), 32
rank, world = int(os.environ.get("RANK", 0)), 2 if "DDP" in modes else 1
torch.set_num_threads(1)
if world > 1:
    if rank == 0:
        other = subprocess.Popen([sys.executable, __file__], env={**os.environ, "RANK": "1"})
    torch.distributed.init_process_group(
        "gloo", init_method="file://" + folder + "/meet", rank=rank, world_size=world)
loss_of = torch.nn.functional.cross_entropy
def truth(model, inputs, labels):
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    def one(weights, x, y):
        return loss_of(functional_call(model, weights, (x[None],)), y[None])
    found = vmap(grad(one), in_dims=(None, 0, 0))(weights, inputs, labels)
    flat = torch.cat([value.flatten(1) for value in found.values()], 1)
    mean = flat.mean(0)
    return ((flat - mean) ** 2).sum(1).mean().item(), (mean ** 2).sum().item()
def train(mode):
    passes = 4 if "accumulation" in mode or mode == "clipping" else 1
    torch.manual_seed(int(os.environ.get("SEED", 0)))
    inputs = torch.randn(2048, 20)
    labels = (inputs @ torch.randn(20, 5) + 4 * torch.randn(2048, 5)).argmax(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(),
        torch.nn.Linear(32, 5))
    trained = torch.nn.parallel.DistributedDataParallel(model) if world > 1 else model
    kind = torch.optim.AdamW if mode == "AdamW" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=1e-4 if mode == "AdamW" else 5e-3)
    data = torch.utils.data.TensorDataset(inputs, labels)
    chosen = torch.Generator().manual_seed(1000 + rank)
    sampler = torch.utils.data.RandomSampler(data, True, STEPS * passes * ROWS, generator=chosen)
    batches = iter(torch.utils.data.DataLoader(data, ROWS, sampler=sampler))
    # Its factor grows all the time, and some steps overflow.
    scaler = torch.amp.GradScaler("cpu", enabled=mode == "scaled", growth_interval=20)
    truths = []
    for step in range(STEPS):
        optimizer.zero_grad()
        for number in range(passes):
            x, y = next(batches)
            summed = number == passes - 1 or world == 1
            with nullcontext() if summed else trained.no_sync():
                loss = loss_of(trained(x), y) / passes
                scaler.scale(loss * float("inf") if step % 50 == 49 and scaler.is_enabled()
                             else loss).backward()
        if mode == "clipping":
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        scaler.step(optimizer)
        scaler.update()
        if rank == 0 and step >= STEPS / 2 and step % (STEPS // 16) == 0:
            truths.append(truth(model, inputs, labels))
    spread, signal = (sum(values) for values in zip(*truths)) if truths else (0, 1)
    return spread / signal
told = {}
for mode in modes:
    probe._noise = watched.Noise()
    known = train(mode)
    notes = {key: str(value) for key, value in probe._noise.notes()}
    told[mode] = {"truth": known, "notes": notes}
if rank == 0:
    json.dump(told, open(folder + "/told.json", "w"))
if world > 1:
    torch.distributed.destroy_process_group()
    if rank == 0:
        assert other.wait() == 0
"""
