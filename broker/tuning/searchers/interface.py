"""What a searcher of the registry is made of."""

from collections.abc import Callable

from mlbroker.policies.tuning.interface import Searcher
from mlbroker.profiles.search_space import Point, Space

# A space and a seed: the same pair and the same reports, the same proposals.
Maker = Callable[[Space, int], Searcher[Point]]
