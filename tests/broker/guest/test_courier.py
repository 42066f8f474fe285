"""The courier's way out: outputs travel in parts, and each until it has arrived."""

import io
from pathlib import Path
from typing import Any

import pytest

from mlbroker.broker.guest import courier
from mlbroker.broker.guest.packing import pack


def test_outputs_travel_in_parts_that_are_sent_until_they_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "OUTPUTS_PART_BYTES", 3000)
    monkeypatch.setattr(courier, "AGAIN_AFTER_S", 0)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "model").write_bytes(b"m" * 10_000)
    arrived: dict[str, bytes] = {}
    refusals = [OSError("no answer"), ValueError("no sense")]

    class Bucket:
        """Refuses at first."""

        def put(self, key: str, data: bytes) -> None:
            if refusals and arrived:
                raise refusals.pop()
            arrived[key] = data

    vendor: Any = Bucket()
    box = str(tmp_path)
    courier.Courier("program", box, vendor, "runs/token", 0)._push_outputs()
    whole = io.BytesIO()
    pack(str(tmp_path / "outputs"), whole)
    assert refusals == []
    assert b"".join(arrived.values()) == whole.getvalue()
    begins = range(0, len(whole.getvalue()), 3000)
    assert list(arrived) == [f"runs/token/0/outputs.tar/{begin:015d}" for begin in begins]
