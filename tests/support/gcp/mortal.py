"""A client that dies: at the n-th call to its cloud, before it is made or before it is answered."""

from collections.abc import Callable
from typing import Any


class Died(BaseException):
    """Nothing of ours catches this, as nothing of ours survives a kill -9."""


class Mortal:
    """Stands before a cloud, and counts."""

    def __init__(self, cloud: Any, calls: int, after: bool) -> None:
        self._cloud = cloud
        self._left = calls
        self._after = after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cloud, name)
        return self._counted(found) if callable(found) else found

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0 and not self._after:
                raise Died
            answer = call(*given, **named)
            if self._left < 0:
                raise Died
            return answer

        return counted
