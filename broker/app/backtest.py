"""What would have been chosen on a table of measured runs, and what that had cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.backtest.past import Library
from mlbroker.broker.backtest.strategies import STRATEGIES
from mlbroker.broker.backtest.table import understand
from mlbroker.broker.backtest.trials import Setting, bootstrap, document, play
from mlbroker.broker.errors import InputError
from mlbroker.broker.measure.table import read_measurements
from mlbroker.broker.prices.price_book import open_book
from mlbroker.policies.planner.book import fill_hardware


class Played(NamedTuple):
    """A strategy's trials as a document, and the 80 % interval of its mean all-in ratio."""

    document: dict[str, Any]
    low: float
    high: float


def backtest(
    table: Path, settings: Sequence[Setting], state: Path, listener: Listener
) -> list[Played]:
    """Play every setting on the jobs of the table; all see the same completed past.

    Machines are what the price book of `state` knows them for, as when a job is planned.
    """
    for setting in settings:
        _refuse_nonsense(setting)
    rows = fill_hardware(open_book(state), list(read_measurements(table)))
    game = understand(rows, str(table), listener.warn)
    names = {job.name for job in game.jobs}
    if any(setting.only is not None and setting.only not in names for setting in settings):
        only = settings[0].only
        raise InputError(f"the table has no job {only!r} that worked", where="--only")
    library, family = Library(game), {job.name: job.family for job in game.jobs}
    results = []
    for setting in settings:
        trials = play(game, library, setting)
        ratios = [trial.all_in_ratio for trial in trials]
        low, high = bootstrap(ratios, [family[trial.job] for trial in trials])
        results.append(Played(document(str(table), setting, trials), low, high))
    return results


def _refuse_nonsense(setting: Setting) -> None:
    multiples = (("--job-hours", setting.job_hours), ("--deadline-factor", setting.deadline_factor))
    for flag, value in multiples:
        if value is not None and not 0 < value < 1e9:
            raise InputError(f"{value:g} is not a number above zero", where=flag)
    if not setting.setup_s < 1e9:
        raise InputError(f"{setting.setup_s:g} is not a length of time", where="--setup-s")
    if setting.strategy not in STRATEGIES:
        raise InputError(
            f"there is no strategy {setting.strategy!r}",
            where="--strategy",
            hint=f"known: {', '.join(STRATEGIES)}",
        )
