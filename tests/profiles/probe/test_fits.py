"""What does not fit another batch is told of a PyTorch job."""

import json

import pytest
from tests.support.hooks import Run, needs

from mlbroker.profiles.noise_seen import misfits

SCRIPT = """
import torch
from torch.optim import lr_scheduler
model = torch.nn.Sequential(torch.nn.Linear(3, 4), %s, torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
schedule = lr_scheduler.%s
for number in range(40):
    model(torch.ones(8, 3)).sum().backward()
    optimizer.step()
    if number %% %d == 0:
        schedule.step()
"""


@needs("torch")
@pytest.mark.parametrize(
    ("layer", "schedule", "every", "told"),
    [
        ("torch.nn.BatchNorm1d(4)", "OneCycleLR(optimizer, 0.1, total_steps=100)", 1,
         {"batch_norm": "BatchNorm1d", "schedule": "OneCycleLR of 100 steps"}),
        ("torch.nn.LayerNorm(4)", "CosineAnnealingLR(optimizer, T_max=50)", 1,
         {"schedule": "CosineAnnealingLR of 50 steps"}),
        # By epochs, or without an end.
        ("torch.nn.LayerNorm(4)", "CosineAnnealingLR(optimizer, T_max=50)", 2, {}),
        ("torch.nn.LayerNorm(4)", "ExponentialLR(optimizer, 0.9)", 1, {}),
    ],
)  # fmt: skip
def test_what_does_not_fit_another_batch_is_told(
    run: Run, layer: str, schedule: str, every: int, told: dict[str, str]
) -> None:
    _, notes = run(SCRIPT % (layer, schedule, every))
    seen = {note.key: note.value for note in notes if note.key in ("batch_norm", "schedule")}
    assert seen == told, json.dumps(seen)


def test_what_does_not_fit_is_said_in_sentences() -> None:
    assert misfits({}) == []
    said = misfits({"batch_norm": "BatchNorm2d", "schedule": "OneCycleLR of 100 steps"})
    assert said == [
        "It normalises by the batch (BatchNorm2d), which another batch changes.",
        "Its learning rate follows OneCycleLR of 100 steps, which are another number then.",
    ]
