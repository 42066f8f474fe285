"""Hardware as one line of JSON, the form in which the store and exported tables keep it."""

import json
from typing import Any

from mlbroker.pricing.offer import Gpu, Hardware

_HARDWARE_FIELDS = tuple(name for name in Hardware._fields if name != "gpu")
_GPU_FIELDS = Gpu._fields


def encode(hardware: Hardware) -> str:
    """The line that `decode` reads back to an equal value. Unknown figures are left out."""
    document = _known(hardware, _HARDWARE_FIELDS)
    if hardware.gpu is not None:
        document["gpu"] = _known(hardware.gpu, _GPU_FIELDS)
    return json.dumps(document, sort_keys=True)


def decode(text: str) -> Hardware:
    """The hardware of such a line; ValueError when it is not one."""
    try:
        document = json.loads(text)
        gpu = document.pop("gpu", None)
        return Hardware(gpu=Gpu(**gpu) if gpu else None, **document)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a description of hardware: {error}") from None


def _known(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: v for name in names if (v := getattr(value, name)) is not None}
