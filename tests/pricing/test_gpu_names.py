"""The names of accelerators."""

import pytest

from mlbroker.pricing.gpu_names import GPU_MODELS, gpu_model


@pytest.mark.parametrize(
    ("name", "model"),
    [("A100", "A100-40GB"), ("a100-80gb", "A100-80GB"), ("V100", "V100-16GB"), ("l4", "L4"),
     ("T4g", "T4G"), ("Gaudi HL-205", "Gaudi1"), ("H100-MEGA-80GB", "H100"),
     ("Inferentia", "Inferentia1"), (" L40S ", "L40S")],
)  # fmt: skip
def test_other_names(name: str, model: str) -> None:
    assert gpu_model(name) == model


def test_every_model_is_its_own_name_in_any_case() -> None:
    for model in GPU_MODELS:
        assert gpu_model(model) == gpu_model(model.upper()) == gpu_model(model.lower()) == model


def test_unknown() -> None:
    assert gpu_model("H1000") is None
    assert gpu_model("") is None
