"""What a study tries next. A new searcher is one file with a class and one entry here."""

from mlbroker.broker.tuning.searchers.grid import Grid
from mlbroker.broker.tuning.searchers.interface import Maker
from mlbroker.broker.tuning.searchers.random import Random
from mlbroker.broker.tuning.searchers.tpe import Tpe

SEARCHERS: dict[str, Maker] = {"random": Random, "grid": Grid, "tpe": Tpe}
