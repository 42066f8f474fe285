"""Train a small network on handwritten digits, in PyTorch, by as many ranks as torchrun starts.

There is nothing about mlbroker in the training loop: its probe sees steps and gradients. The job
can be told its batch, in how many passes a step is made, and the learning rate that fits.
"""

import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

HERE = Path(__file__).parent
EPOCHS = int(os.environ.get("EPOCHS", "20"))
BATCH = int(os.environ.get("BATCH", "128"))
PASSES = int(os.environ.get("ACC", "1"))
LEARNING_RATE = float(os.environ.get("LR", "0.05"))
RANK = int(os.environ.get("RANK", "0"))
RANKS = int(os.environ.get("WORLD_SIZE", "1"))
TRAIN_IMAGES = 4096
CHECKPOINTS = os.environ.get("MLBROKER_CHECKPOINT_DIR")


def main():
    if BATCH % (RANKS * PASSES):
        raise SystemExit(f"a batch of {BATCH} is not divisible among {RANKS} ranks x {PASSES}")
    if RANKS > 1:
        torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    with np.load(HERE / ".venv" / "images.npz") as data:
        images = torch.from_numpy(data["images"].astype(np.float32) / 255)
        labels = torch.from_numpy(data["labels"].astype(np.int64))
    train = TensorDataset(images[:TRAIN_IMAGES], labels[:TRAIN_IMAGES])
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    # The work is counted in epochs: a checkpoint knows nothing of batch or ranks.
    first = resume(model, optimizer)
    shared = DistributedDataParallel(model) if RANKS > 1 else model
    sampler = DistributedSampler(train, RANKS, RANK, seed=1)
    loader = DataLoader(train, BATCH // RANKS // PASSES, sampler=sampler, drop_last=True)
    for epoch in range(first, EPOCHS):
        sampler.set_epoch(epoch)
        for number, (inputs, wanted) in enumerate(loader, 1):
            last = number % PASSES == 0
            with nullcontext() if last or RANKS == 1 else shared.no_sync():
                (F.cross_entropy(shared(inputs), wanted) / PASSES).backward()
            if last:
                optimizer.step()
                optimizer.zero_grad()
        if RANK == 0:
            loss, right = tested(model, images[TRAIN_IMAGES:], labels[TRAIN_IMAGES:])
            how_well = f"loss {loss:.3f}  accuracy {right:.3f}"
            print(f"epoch {epoch + 1}/{EPOCHS}  {how_well}  batch {BATCH}", flush=True)
            save(model, optimizer, epoch + 1)
    if RANKS > 1:
        torch.distributed.destroy_process_group()


@torch.no_grad()
def tested(model, images, labels):
    """Loss, and share of images that are told right, on images that are not trained on."""
    outputs = model(images)
    right = (outputs.argmax(1) == labels).float().mean()
    return F.cross_entropy(outputs, labels).item(), right.item()


def resume(model, optimizer):
    """Takes up the last checkpoint, if there is one; the epoch to go on with."""
    if not CHECKPOINTS or not (path := Path(CHECKPOINTS, "state.pt")).exists():
        return 0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    # The optimizer's state has the rate of the batch before.
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE
    if RANK == 0:
        print(f"Resumed after epoch {state['epoch']}", flush=True)
    return state["epoch"]


def save(model, optimizer, epoch):
    if not CHECKPOINTS:
        return
    part = Path(CHECKPOINTS, "state.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, part)
    part.replace(Path(CHECKPOINTS, "state.pt"))


if __name__ == "__main__":
    main()
