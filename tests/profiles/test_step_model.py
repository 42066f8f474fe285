"""Step times from few measurements: the formula, the fit, and how sure it is."""

import math

import numpy as np
import pytest

from mlbroker.profiles.step_model import Fitted, Layout, Space, StepAt, StepModel, Timed

ONE, FOUR, EIGHT, SIXTEEN = (
    Layout("T4", 1, 1),
    Layout("T4", 1, 4),
    Layout("T4", 2, 8),
    Layout("T4", 4, 16),
)
FAST = Layout("A100", 1, 1)
SPACE = Space((ONE, FOUR, EIGHT, SIXTEEN, FAST), 32.0)
NORMALS = np.random.default_rng(1).standard_normal((400, 200))


def true_s(step: StepAt, scale: float = 1.0, gamma: float = 2.0) -> float:
    """Of a job that takes .04 s and 10 ms a sample on a T4, a quarter of it on an A100."""
    layout = step.layout
    compute = scale * (0.04 + 0.01 * step.local_batch) / (4 if layout.gpu == "A100" else 1)
    more = max(layout.gpus - 2, 0)
    exchange = 0.0 if layout.gpus == 1 else 0.05 + 0.002 * more
    exchange *= 3 if layout.nodes > 1 else 1
    last = (compute**gamma + (scale * exchange) ** gamma) ** (1 / gamma)
    return float(step.accumulated * compute + last)


def timed(layout: Layout, local: float, scale: float = 1.0) -> Timed:
    step = StepAt(layout, local)
    return Timed(step, true_s(step, scale), true_s(StepAt(Layout(layout.gpu, 1, 1), local), scale))


def past(scale: float = 1.0) -> Fitted:
    rows = [
        timed(layout, local, scale) for layout in SPACE.layouts for local in (8, 16, 32, 64, 128)
    ]
    return StepModel(SPACE).fit(rows).as_past(rows)


def believed(model: StepModel, step: StepAt) -> tuple[float, float]:
    logs = model.log_times([step], NORMALS[:, : model.size])[:, 0]
    return float(np.exp(logs.mean())), float(logs.std())


@pytest.mark.parametrize("accumulated", [0, 1, 3])
def test_with_all_measured_it_says_what_was_measured(accumulated: int) -> None:
    rows = [timed(layout, local) for layout in SPACE.layouts for local in (8, 32, 128)]
    model = StepModel(SPACE).fit(rows)
    for layout in SPACE.layouts:
        step = StepAt(layout, 64, accumulated)
        median, sigma = believed(model, step)
        assert median == pytest.approx(true_s(step), rel=0.06)
        assert sigma < 0.1


def test_what_was_never_measured_is_wide_and_more_gpus_are_wider() -> None:
    model = StepModel(SPACE, (past(), past(3.0))).fit([timed(ONE, 16), timed(ONE, 64)])
    sigmas = [believed(model, StepAt(layout, 32))[1] for layout in (ONE, FOUR, EIGHT, SIXTEEN)]
    assert sigmas == sorted(sigmas)
    assert sigmas[0] < 0.1 < 0.2 < sigmas[2]
    narrower = model.fit([timed(ONE, 16), timed(ONE, 64), timed(EIGHT, 32)])
    assert believed(narrower, StepAt(SIXTEEN, 32))[1] < sigmas[3] / 2


def test_past_jobs_tell_of_types_and_layouts_that_this_one_never_ran_on() -> None:
    rows = [timed(ONE, 16, 10.0), timed(ONE, 64, 10.0)]
    model = StepModel(SPACE, (past(), past(3.0))).fit(rows)
    for layout in (FAST, FOUR, SIXTEEN):
        step = StepAt(layout, 32)
        median, sigma = believed(model, step)
        assert abs(math.log(median / true_s(step, 10.0))) < 1.3 * sigma
    _, without = believed(StepModel(SPACE).fit(rows), StepAt(FAST, 32))
    assert believed(model, StepAt(FAST, 32))[1] < without


def test_without_a_past_data_sheets_say_which_type_is_faster() -> None:
    rows = [timed(ONE, 16), timed(ONE, 64)]
    blind = believed(StepModel(SPACE).fit(rows), StepAt(FAST, 32))[0]
    sheets = Space(SPACE.layouts, SPACE.reference_batch, {"T4": -1.0, "A100": 1.0})
    told = believed(StepModel(sheets).fit(rows), StepAt(FAST, 32))[0]
    assert told < blind / 2


def test_what_a_past_job_never_ran_on_is_not_told_of_it() -> None:
    rows = [timed(ONE, 16), timed(FOUR, 16)]
    fitted = StepModel(SPACE).fit(rows).as_past(rows)
    assert list(fitted.by_type) == ["T4"]
    assert np.isnan(fitted.by_type["T4"]).tolist() == [False] * 4 + [True] * 2
