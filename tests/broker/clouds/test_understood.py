"""What a vendor answers and nobody understands is asked again, not a client's end."""

from typing import Any

import pytest

from mlbroker.broker.clouds import opener
from mlbroker.broker.clouds.interface import Denied, Unclear
from mlbroker.broker.clouds.understood import understood


class Garbled:
    traits = "traits"

    def find(self, tags: dict[str, str]) -> Any:
        return {}["instances"]

    def status(self, machine_id: str) -> Any:
        raise Denied("no")


def test_what_cannot_be_read_is_unclear_and_says_where() -> None:
    cloud = understood(Garbled(), "aws")  # type: ignore[arg-type]
    with pytest.raises(
        Unclear, match=r"aws: its answer cannot be understood .find: KeyError"
    ) as no:
        cloud.find({})
    assert not no.value.made_nothing


def test_the_rest_goes_through() -> None:
    cloud = understood(Garbled(), "aws")  # type: ignore[arg-type]
    assert str(cloud.traits) == "traits"
    with pytest.raises(Denied, match="no"):
        cloud.status("i-1")


def test_every_cloud_is_opened_so(tmp_path: Any) -> None:
    cloud = opener(tmp_path)("local")
    with pytest.raises(Unclear):
        cloud.find(None)  # type: ignore[arg-type]
