"""A trial of remedies, with real processes; where torch is not needed a script plays the probe."""

import sys
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.hooks import PYTHON, needs

from mlbroker.broker.errors import InputError, JobFailed
from mlbroker.broker.measure import trying
from mlbroker.broker.measure.remedies import arms_of
from mlbroker.broker.measure.trying import Trying
from mlbroker.broker.try_words import file_lines
from mlbroker.profiles.job import Checkpoint, Job, ProfileLimits, Work
from mlbroker.profiles.trying import Trial

SCRIPT = """
import os, sys, time, types
import mlbroker_probe._events as events
from mlbroker_probe._events import Counter
# A clock of its own, so that steps take what they are said to, whatever else the machine does.
now_ns = time.monotonic_ns()
events.time = types.SimpleNamespace(monotonic_ns=lambda: now_ns)
counter = Counter("torch")
asked = dict(word.partition("=")[::2] for word in os.environ.get("MLBROKER_NLP", "").split(","))
check = "MLBROKER_TRY_CHECK" in os.environ
TOLD = {"trim": "on", "group": "on: lengths by the masks of the first epoch", "workers": "on",
        "bf16": "on"}
step_s, loss = 0.02, 0.0
{case}
for name in asked:
    if name: counter.note("nlp_" + name, TOLD[name])
for i in range(3000):
    time.sleep(0.004)
    now_ns += int(step_s * 1e9)
    counter.note("loss_%d" % i, "%.9g" % (1 / (i + 1) + loss))
    counter.note("nlp_epoch_batches", 100)
    counter.note("batch_size", 8)
    counter.add(1)
"""
FASTER = "step_s *= 0.5 if 'trim' in asked else 1\nstep_s *= 0.5 if 'group' in asked else 1\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "WANTED_STEPS", 24)
    monkeypatch.setattr(trying, "WANTED_S", 0.1)
    monkeypatch.setattr(trying, "PILOT_S", 0.2)
    monkeypatch.setattr(trying, "MOST_ROUNDS", 3)


def tried(folder: Path, case: str, remedies: str, **fields: object) -> Trial:
    script = SCRIPT.replace("{case}", case)
    (folder / "train.py").write_text(script)
    job = Job(
        "test",
        f"{sys.executable} train.py",
        workdir=str(folder),
        profile=ProfileLimits(Decimal(1), 120.0),
        **fields,  # type: ignore[arg-type]
    )
    return Trying(job, arms_of(remedies), lambda _: None, lambda _: None).run()


def test_what_is_faster_and_changes_no_loss_is_proven(tmp_path: Path) -> None:
    trial = tried(tmp_path, FASTER, "trim,group=8", work=Work(400))
    trim, group = trial.arms
    assert trial.best == group
    assert [arm.remedies for arm in trial.arms] == ["trim", "trim,group=8"]
    assert trim.of_step is not None
    assert group.of_step is not None
    assert group.of_run is not None
    assert trim.of_step == pytest.approx((0.5, 0.5), abs=0.01)
    assert group.of_step == pytest.approx((0.75, 0.75), abs=0.01)
    # Of four epochs the first has no lengths yet.
    assert group.of_run.seen == pytest.approx(0.25 * trim.of_step.seen + 0.75 * group.of_step.seen)
    assert trim.losses == "losses agree to 1e-09 without dropout"
    assert group.losses is not None
    assert "mean losses differ by" in group.losses
    assert trial.rows == 8
    assert trial.steps == 24


@pytest.mark.parametrize(
    ("case", "remedies", "reason"),
    [
        ("loss = 0.001 if 'trim' in asked else 0", "trim", "the model looks at padding"),
        ("import random; loss = random.random()", "trim", "differ by"),
        ("TOLD['trim'] = 'off: no mask'", "trim", "off: no mask"),
        ("TOLD['group'] = 'off: a stream'", "group", "group is off: a stream"),
        ("if 'trim' in asked: sys.exit('no such shape')", "trim", "no such shape"),
        ("if 'group' in asked: sys.exit('no such rows')", "group", "no such rows"),
        ("loss = 5 if 'group' in asked else 0", "group", "losses disagree"),
        ("step_s *= 1.1 if 'workers' in asked else 1", "workers=2", "not surely faster"),
        ("step_s *= 9 if 'workers' in asked else 1", "workers=2", "slower: 180 ms a step for 20"),
        ("loss = 0.1 if 'bf16' in asked else 0", "bf16", "more than rounding to bfloat16 does"),
        ("loss = float('nan') if 'bf16' in asked else 0", "bf16", "differ by inf"),
        ("TOLD['bf16'] = 'off: the job uses autocast'", "bf16", "off: the job uses autocast"),
    ],
)
def test_what_is_not_is_withdrawn_with_the_reason(
    tmp_path: Path, case: str, remedies: str, reason: str
) -> None:
    trial = tried(tmp_path, FASTER + case, remedies)
    assert trial.best is None
    assert reason in str(trial.arms[0].withdrawn)


def test_where_trim_is_withdrawn_the_others_are_tried_without_it(tmp_path: Path) -> None:
    trial = tried(tmp_path, FASTER + "TOLD['trim'] = 'off: no mask'", "trim,group=8")
    trim, group = trial.arms
    assert (trim.remedies, trim.withdrawn) == ("trim", "off: no mask")
    assert (group.remedies, group.withdrawn) == ("group=8", None)
    assert trial.best == group


def test_bfloat16_is_proven_though_its_losses_are_not_equal_and_that_is_told(
    tmp_path: Path,
) -> None:
    case = "step_s *= 0.5 if 'bf16' in asked else 1\nloss = 0.0002 if 'bf16' in asked else 0"
    trial = tried(tmp_path, case, "bf16")
    (arm,) = trial.arms
    assert arm.proven, arm.withdrawn
    assert arm.losses is not None
    assert arm.losses.startswith(
        "losses differ by 0.0002 without dropout, not more than 0.02: they are not equal"
    )
    assert file_lines(arm) == [
        "In the script: torch.autocast with torch.bfloat16 around the model's call"
    ]


def test_what_is_withdrawn_while_it_is_timed_does_not_hold_up_what_comes_after(
    tmp_path: Path,
) -> None:
    case = FASTER + "step_s *= 9 if 'bf16' in asked else 1"
    trial = tried(tmp_path, case, "trim,bf16,group=8")
    trim, bf16, group = trial.arms
    assert trim.proven
    assert "it is slower" in str(bf16.withdrawn)
    assert (group.remedies, group.proven) == ("trim,group=8", True)


def test_a_job_that_fails_or_resumes_is_no_ground_to_compare_on(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="no luck"):
        tried(tmp_path, "sys.exit('no luck')", "trim")
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "last.pt").touch()
    with pytest.raises(InputError, match="does not start alike twice"):
        tried(tmp_path, FASTER, "trim", checkpoint=Checkpoint("ckpt", 60))


@pytest.mark.parametrize(
    "text",
    ["", "trimm", "trim=2", "group=1", "workers=0", "workers=x", "trim,trim", "bf16=1", "fp16"],
)
def test_a_remedy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        arms_of(text)
    assert "--try" in str(refused.value) or "group" in str(refused.value) or text == "group=1"


REAL = """
import torch
from torch import nn
from torch.utils.data import DataLoader
torch.set_num_threads(1)
torch.manual_seed(0)
rows = [{"input_ids": torch.randint(1, 200, (n,)).tolist()}
        for n in torch.randint(3, 40, (1600,)).tolist()]
def collate(batch):
    ids = torch.zeros(len(batch), 160, dtype=torch.long)
    for i, row in enumerate(batch): ids[i, :len(row["input_ids"])] = torch.tensor(row["input_ids"])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}
table, out = nn.Embedding(200, 48), nn.Linear(48, 1)
layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True)
weights = [*table.parameters(), *layer.parameters(), *out.parameters()]
optimizer = torch.optim.AdamW(weights, lr=1e-3)
for epoch in range(99):
    for batch in DataLoader(rows, 16, shuffle=True, collate_fn=collate):
        mask = batch["attention_mask"]
        hidden = layer(table(batch["input_ids"]), src_key_padding_mask=mask == 0)
        hidden = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        loss = nn.functional.mse_loss(out(hidden)[:, 0], batch["input_ids"][:, 0] / 200)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


@needs("torch")
def test_a_torch_job_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(REAL)
    job = Job(
        "test",
        f"{PYTHON} train.py",
        workdir=str(tmp_path),
        work=Work(9900),
        profile=ProfileLimits(Decimal(1), 900.0),
    )
    trial = Trying(job, ["trim", "group=8"], lambda _: None, lambda _: None).run()
    trim, group = trial.arms
    assert trim.proven, trim.withdrawn
    assert trim.of_step is not None
    assert trim.of_step.least > 0.3
    assert trim.losses is not None
    assert trim.losses.startswith("losses agree to ")
    assert group.of_step is not None
    assert group.lengths == "column"
