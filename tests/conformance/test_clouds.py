"""Every cloud is held to what all promise. A new one joins with a harness."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cloud_harness import HARNESSES, open_harness

from mlbroker.broker.clouds import CLOUDS
from mlbroker.testing.clouds import CloudSuite, Harness


def test_every_cloud_is_held_to_the_suite() -> None:
    assert set(CLOUDS) <= set(HARNESSES)


class TestCloud(CloudSuite):
    @pytest.fixture(params=sorted(HARNESSES))
    def harness(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
        with open_harness(request.param, tmp_path) as harness:
            yield harness
