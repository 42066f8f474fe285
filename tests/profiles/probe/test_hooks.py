"""Training libraries are counted without a change of the user's code.

They are not dependencies of mlbroker: a test whose library is not installed is skipped. Name
another interpreter that has them in MLBROKER_HOOKS_PYTHON.
"""

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.hooks import PYTHON, Run, best, needs, said

from mlbroker.broker.measure.agent_link import PROBE_FOLDER

TORCH = """
import torch
model = torch.nn.Linear(4, 1)
data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
loader = torch.utils.data.DataLoader(data, batch_size=8)
def loss(x, y): return ((model(x) - y) ** 2).mean()
"""


@needs("torch")
def test_every_optimizer_step_is_a_step(run: Run) -> None:
    streams, notes = run(
        TORCH
        + """
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad(); loss(x, y).backward(); optimizer.step()
"""
    )
    assert (best(streams).source, best(streams).counts[-1]) == ("torch", 24)
    assert best(streams).waited_s > 0
    facts = said(notes)
    assert facts["batch_size"] == "8"
    assert facts["batches_per_step"] == "1"


@needs("torch")
def test_gradient_accumulation_counts_optimizer_steps_and_says_so(run: Run) -> None:
    streams, notes = run(
        TORCH
        + """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i, (x, y) in enumerate(loader):
    loss(x, y).backward()
    if i % 4 == 3: optimizer.step(); optimizer.zero_grad()
"""
    )
    assert best(streams).counts[-1] == 2
    assert said(notes)["batches_per_step"] == "4"


@needs("torch")
def test_two_optimizers_that_alternate_make_one_step_and_two_phases_make_two(run: Run) -> None:
    streams, _ = run(
        TORCH
        + """
one, two = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
def step(*optimizers):
    loss(*next(iter(loader))).backward()
    for o in optimizers: o.step()
for _ in range(10): step(one, two)
for _ in range(5): step(two)
"""
    )
    assert best(streams).counts[-1] == 15


@needs("torch")
def test_a_step_the_gradient_scaler_skips_is_told_and_not_counted(run: Run) -> None:
    streams, notes = run(
        TORCH
        + """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
for i in range(8):
    optimizer.zero_grad()
    value = loss(*next(iter(loader)))
    scaler.scale(value * float("inf") if i in (1, 2) else value).backward()
    scaler.step(optimizer); scaler.update()
"""
    )
    assert best(streams).counts[-1] == 6
    assert said(notes)["skipped_steps"] == "2"


@needs("torch")
def test_only_the_main_rank_counts(run: Run) -> None:
    streams, _ = run(
        TORCH
        + """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader: loss(x, y).backward(); optimizer.step()
""",
        RANK="1",
    )
    assert streams.best(None, final=True) is None


@needs("transformers")
def test_the_trainer_of_hugging_face_counts_optimizer_steps(run: Run, tmp_path: Path) -> None:
    streams, _ = run(
        TORCH
        + f"""
from transformers import Trainer, TrainingArguments
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = model
    def forward(self, x=None, labels=None):
        return {{"loss": ((self.inner(x) - labels) ** 2).mean()}}
rows = [{{"x": x, "labels": y}} for x, y in data]
arguments = TrainingArguments(
    output_dir={str(tmp_path / "out")!r}, per_device_train_batch_size=8, num_train_epochs=3,
    gradient_accumulation_steps=2, report_to=[], save_strategy="no", use_cpu=True,
)
Trainer(model=Model(), args=arguments, train_dataset=rows).train()
"""
    )
    series = best(streams)
    assert (series.source, series.counts[-1], series.total) == ("torch", 12, 12)


@needs("lightning")
def test_lightning_counts_optimizer_steps(run: Run, tmp_path: Path) -> None:
    streams, _ = run(
        TORCH
        + f"""
import lightning
class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.inner = model
    def training_step(self, batch, _):
        x, y = batch
        return ((self.inner(x) - y) ** 2).mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
    default_root_dir={str(tmp_path)!r},
)
trainer.fit(Model(), loader)
"""
    )
    series = best(streams)
    assert (series.source, series.counts[-1]) == ("torch", 16)


CALLS = {
    "keras": (
        "import numpy, keras\nx = numpy.ones((64, 4))\n"
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])\n"
        "model.compile('adam', 'mse')",
        "model.fit(x, x[:, :1], epochs=3, batch_size=8, verbose=0)",
        24,
    ),
    "lightgbm": (
        "import numpy, lightgbm\nx = numpy.random.rand(200, 4)",
        "lightgbm.LGBMRegressor(n_estimators=40, verbose=-1).fit(x, x[:, 0])",
        40,
    ),
    "xgboost": (
        "import numpy, xgboost\nx = numpy.random.rand(200, 4)",
        "xgboost.XGBRegressor(n_estimators=30).fit(x, x[:, 0])",
        30,
    ),
}


@pytest.mark.parametrize("library", [pytest.param(name, marks=needs(name)) for name in CALLS])
@pytest.mark.parametrize(
    ("around", "times", "known"),
    [("{call}", 1, True), ("{call}\n{call}", 2, False), ("for k in range(1): {call}", 1, False)],
)
def test_a_call_tells_the_jobs_steps_unless_it_comes_again(
    run: Run, library: str, around: str, times: int, known: bool
) -> None:
    begin, call, steps = CALLS[library]
    streams, notes = run(f"{begin}\n{around.format(call=call)}", KERAS_BACKEND="torch")
    series = best(streams)
    assert (series.source, series.counts[-1]) == (library, times * steps)
    assert series.total == (steps if known else None)
    assert ("epoch" in said(notes)) == ("for" in around)


@needs("tqdm")
def test_a_bar_that_is_broken_off_is_no_parent_of_the_next(run: Run) -> None:
    streams, _ = run(
        """
import time
from tqdm import tqdm
for i in tqdm(range(50)):
    if i == 3: break
for i in tqdm(range(40)): time.sleep(0.001)
"""
    )
    assert (best(streams).counts[-1], best(streams).total) == (40, 40)


@needs("tqdm")
def test_a_hook_that_fails_is_told_and_the_job_goes_on(run: Run) -> None:
    streams, _ = run(
        """
import mlbroker_probe._tqdm as ours
ours.loop_around = None
from tqdm import tqdm
assert list(tqdm(range(5))) == [0, 1, 2, 3, 4]
"""
    )
    assert streams.sources == []


@needs("tqdm")
@pytest.mark.parametrize("disable", [False, True])
def test_nested_bars_count_the_inner_steps_of_all_epochs(run: Run, disable: bool) -> None:
    streams, _ = run(
        f"""
import time
from tqdm.auto import tqdm
for _ in tqdm(range(20), disable={disable}): time.sleep(0.001)
for epoch in tqdm(range(3), disable={disable}):
    for _ in tqdm(range(10), disable={disable}): time.sleep(0.002)
    for _ in tqdm(range(5), disable={disable}): time.sleep(0.002)
"""
    )
    series = best(streams)
    assert (series.counts[-1], series.total) == (30, 30)


@needs("tqdm")
def test_a_bar_moved_by_hand_counts_too(run: Run) -> None:
    streams, _ = run(
        """
import time
from tqdm import tqdm
with tqdm(total=60) as bar:
    for _ in range(20): time.sleep(0.001); bar.update(3)
"""
    )
    assert (best(streams).counts[-1], best(streams).total) == (60, 60)


@needs("tqdm")
@needs("torch")
def test_the_optimizer_wins_over_the_bar_and_takes_its_total(run: Run) -> None:
    streams, _ = run(
        TORCH
        + """
from tqdm import tqdm
import time
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
bar = iter(tqdm(range(40)))
for i in bar:
    time.sleep(0.001)
    loss(*next(iter(loader))).backward()
    if i % 2: optimizer.step()
    if i == 29: break
"""
    )
    series = best(streams)
    assert (series.source, series.counts[-1]) == ("torch", 15)
    assert series.total in (20, 21)  # the bar may be one batch behind


def test_a_sitecustomize_of_the_user_is_still_run(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import os; os.environ['SEEN'] = 'yes'")
    streams, _ = run(
        """
import os
from mlbroker_probe import step
assert os.environ["SEEN"] == "yes"
step(7, total=10)
""",
        PYTHONPATH=f"{PROBE_FOLDER}{os.pathsep}{other}",
    )
    assert (best(streams).counts[-1], best(streams).total) == (7, 10)


def test_without_a_listener_the_job_runs_on(tmp_path: Path) -> None:
    script = "from mlbroker_probe import step, steps\nx = [1, 2]\nassert steps(x) is x\nstep()"
    env = {**os.environ, "PYTHONPATH": str(PROBE_FOLDER)}
    env.pop("MLBROKER_PROBE_DIR", None)
    subprocess.run([PYTHON, "-c", script], env=env, check=True)
    env["MLBROKER_PROBE_DIR"] = str(tmp_path / "gone")
    script = "from mlbroker_probe import steps\nassert list(steps([1, 2])) == [1, 2]"
    done = subprocess.run([PYTHON, "-c", script], env=env, check=True, capture_output=True)
    assert b"steps cannot be counted" in done.stderr


def test_forked_workers_do_not_count_for_their_parent(run: Run) -> None:
    streams, _ = run(
        """
import os
from mlbroker_probe import steps
for i in steps(range(5)):
    if i == 2 and os.fork() == 0:
        os._exit(0)
"""
    )
    assert best(streams).counts[-1] == 5


def test_a_second_loop_makes_the_total_unknown_unless_it_was_given(run: Run) -> None:
    streams, _ = run(
        """
from mlbroker_probe import steps
for epoch in range(2):
    for i in steps(range(5)): pass
"""
    )
    assert (best(streams).counts[-1], best(streams).total) == (10, None)


@pytest.mark.parametrize(
    ("script", "total"),
    [
        ("for i in steps(range(5)): pass", 5),
        ("def train():\n  for i in steps(range(5)): pass\ntrain()", 5),
        ("for e in range(1):\n  for i in steps(range(5)): pass", None),
        ("def train():\n  for i in steps(range(5)): pass\nfor e in range(1): train()", None),
        ("x = steps(range(5))\nfor e in range(1):\n  for i in x: pass", None),
        ("n = 0\nwhile n < 1:\n  n += 1\n  for i in steps(range(5)): pass", None),
        ("while True:\n  for i in steps(range(5)): pass\n  break", 5),
        ("for e in range(2):\n  try: int('x')\n  except ValueError: continue\n"
         "for i in steps(range(5)): pass", 5),
        ("def loader():\n  for i in steps(range(5)): yield i\nfor i in loader(): pass", 5),
        ("for e in range(1):\n  for i in steps(range(5), total=100): pass", 100),
    ],
)  # fmt: skip
def test_the_length_of_a_loop_within_a_loop_is_not_the_jobs(
    run: Run, script: str, total: int | None
) -> None:
    streams, notes = run("from mlbroker_probe import steps\n" + script)
    assert (best(streams).counts[-1], best(streams).total) == (5, total)
    assert ("epoch" in said(notes)) == (total is None)
