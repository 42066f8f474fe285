"""What a study on a machine tries next: the best of earlier studies, then its searcher's."""

import json
import zlib
from collections.abc import Iterable

from mlbroker.broker.errors import InputError
from mlbroker.broker.tuning.record import StudyFolder, StudyState, TrialRecord
from mlbroker.broker.tuning.searchers import SEARCHERS
from mlbroker.profiles.search_space import Point, Study

# Of each earlier study.
BEST_OF_EACH = 8
# A searcher that comes back to what was tried so often, beyond each of them once, as a grid does,
# has nothing new.
MOST_REPEATS = 100


class Proposals:
    """Points of the space that no trial had; what earlier lanes learnt is told to the searcher."""

    def __init__(self, folder: StudyFolder, state: StudyState, seed: int, lane: int = 1) -> None:
        terms = folder.terms()
        self.more = True
        self._state = state
        self._tried: set[str] = set()
        self._seen = 0  # trials whose points are among the tried
        self._first = [
            point
            for name in state.study.start_from
            for point in best_points(folder, name, state.study)
        ]
        self.warm = bool(self._first)
        # Another lane, and one that goes on after so many trials, draws other points.
        number = zlib.crc32(f"{seed} {len(state.trials)} {lane}".encode())
        self._searcher = SEARCHERS[terms["searcher"]](state.study.space, number)
        for each in state.trials:
            if each.trial.reached:
                self.tell(each)

    def ask(self) -> Point | None:
        """The next; None, and `more` is over, where everything was tried."""
        trials = self._state.trials
        self._tried |= {_key(each.point) for each in trials[self._seen :]}
        self._seen = len(trials)
        for point in self._candidates():
            if _key(point) not in self._tried:
                self._tried.add(_key(point))
                return point
        self.more = False
        return None

    def tell(self, each: TrialRecord) -> None:
        """What a trial came to so far."""
        self._searcher.tell(each.point, each.trial.best)

    def _candidates(self) -> Iterable[Point]:
        while self._first:
            yield self._first.pop(0)
        for _ in range(MOST_REPEATS + len(self._tried)):
            point = self._searcher.ask()
            if point is None:
                return
            yield point


def best_points(folder: StudyFolder, name: str, study: Study) -> list[Point]:
    """The best of an earlier study, best first; InputError where its space is another one."""
    earlier = StudyFolder(folder.path.parent / name)
    state = earlier.load()
    mine = (study.space, study.metric, study.more_is_better, study.resource)
    its = state.study
    if mine != (its.space, its.metric, its.more_is_better, its.resource):
        what = f"study {name} has another space, metric, goal or resource"
        raise InputError(what, where="broker.tune.start_from", hint="Name studies of the same.")
    known = [each for each in state.trials if each.trial.best and not each.failed]
    known.sort(key=lambda each: -each.trial.score)
    return [each.point for each in known[:BEST_OF_EACH]]


def _key(point: Point) -> str:
    return json.dumps(point, sort_keys=True)
