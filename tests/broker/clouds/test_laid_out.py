"""A box whose start is under way while nobody waits for its answer any more."""

import fcntl
import json
from pathlib import Path

import pytest

from mlbroker.broker.clouds import opener
from mlbroker.broker.clouds.interface import TOKEN_TAG, Unclear

TOKEN = "mlb-r1-1"
TAGS = {TOKEN_TAG: TOKEN}


def test_what_is_being_laid_out_is_not_taken_for_absent(tmp_path: Path) -> None:
    cloud = opener(tmp_path)("local")
    box = tmp_path / "machines" / TOKEN
    box.mkdir(parents=True)
    with open(box / "alive", "w") as alive:
        # As whoever starts it does, before it writes down what the box is for.
        fcntl.flock(alive, fcntl.LOCK_EX)
        with pytest.raises(Unclear, match="being laid out"):
            cloud.find(TAGS)
        # Others are not held up by it.
        assert cloud.find({}) == []
        assert cloud.find({TOKEN_TAG: "mlb-r2-1"}) == []
        (box / "spec.json").write_text(json.dumps({"tags": TAGS}))
        assert [machine.id for machine in cloud.find(TAGS)] == [f"local/{TOKEN}"]
    (box / "spec.json").unlink()
    # Its start was killed: it came to nothing.
    assert cloud.find(TAGS) == []
