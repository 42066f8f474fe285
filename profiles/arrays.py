"""The type of a numpy array of numbers."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
