"""Between a run and its cloud: a call is answered, or it fails as calls of a Cloud may.

A vendor's answer goes through its library and through our own reading. What neither understands
(a proxy's page, half an answer, a field of another type) may still have done what was asked.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from mlbroker.broker.clouds.interface import Unclear, one_line
from mlbroker.broker.clouds.library import library
from mlbroker.broker.errors import MlbrokerError

T = TypeVar("T")


def understood(cloud: T, name: str) -> T:
    """This cloud, or one of its modules, whose calls fail with nothing but errors of ours."""
    return cast(T, _Understood(cloud, name))


class _Understood:
    def __init__(self, cloud: object, name: str) -> None:
        self._cloud = cloud
        self._name = name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cloud, name)
        return self._guarded(found) if callable(found) else found

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def guarded(*arguments: Any, **more: Any) -> Any:
            try:
                with library(self._name):
                    return call(*arguments, **more)
            except MlbrokerError:
                raise
            except Exception as error:
                said = f"{call.__name__}: {type(error).__name__}: {one_line(error)}"
                raise Unclear(
                    f"its answer cannot be understood ({said})", where=self._name
                ) from error

        return guarded
