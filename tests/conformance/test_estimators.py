"""Every estimator of the registry is held to what all promise."""

import pytest

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators import ESTIMATORS, predict
from mlbroker.profiles.estimators.interface import Estimator
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence, Target
from mlbroker.testing.estimators import EstimatorSuite


class TestEstimator(EstimatorSuite):
    @pytest.fixture(scope="class", params=ESTIMATORS)
    @classmethod
    def estimator(cls, request: pytest.FixtureRequest) -> Estimator:
        return ESTIMATORS[request.param]


def test_the_registry_is_in_order_of_preference() -> None:
    box = Hardware(4, 16, "x86_64")
    row = Measurement("j", "a", 2.0, cloud="aws", instance_type="a", steps=1, hardware=box)
    evidence = Evidence(Job("j", "true"), [row])
    here, there = predict(
        evidence, [Target("aws", "a", box), Target("aws", "z", box._replace(vcpus=8))]
    )
    assert here is not None
    assert here.basis == "measured"
    assert there is not None
    assert there.basis != "measured"
