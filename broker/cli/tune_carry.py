"""The foreground of a study: its lanes are begun, watched to their ends, and summed up."""

from collections.abc import Sequence
from pathlib import Path

from mlbroker.broker.app.run import reserve
from mlbroker.broker.app.tune import PreparedStudy
from mlbroker.broker.app.tune_lanes import bring_home, driven, open_lanes
from mlbroker.broker.cli.attendants import LOOK_S, Attendants
from mlbroker.broker.cli.ctrl_c import CtrlC, Pressed
from mlbroker.broker.cli.run_carry import ask_what_now, carry, detached, error_of
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import Interrupted, MlbrokerError, RefusedError
from mlbroker.broker.home import private_folder
from mlbroker.broker.ledger import Run, open_ledger
from mlbroker.broker.output import say, warn
from mlbroker.broker.runs.background import carry_in_background
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.summary import spent_words
from mlbroker.broker.tuning.record import StudyFolder, StudyState
from mlbroker.broker.tuning.writer import Writer
from mlbroker.broker.words import count, exact_usd, figure


def begin(study: PreparedStudy, secrets: dict[str, str], state: Path, *, detach: bool) -> None:
    """Reserve the lanes and see them to their ends; raises the error of what became of them."""
    lanes = study.plan.lanes
    with CtrlC() as ctrl_c, driven(study.folder, state):
        study.begin(state)
        begun: list[str] = []
        for each in lanes:
            try:
                with reserve(each, secrets, state, Terminal()) as run:
                    private_folder(str(study.folder.lane(run.run_id)))
                    begun.append(run.run_id)
                    if detach:
                        detached(state, run, secrets, json=False)
                    elif len(lanes) == 1:
                        carry(state, run.run_id, secrets, ctrl_c, json=False)
                    else:
                        carry_in_background(state, run.run_id, secrets)
            except RefusedError as error:
                if not begun or len(lanes) == 1:
                    raise
                warn(f"{count(len(begun), 'lane')} instead of {len(lanes)}: {error}")
                break
        if not detach and len(lanes) > 1:
            news = News(study.folder)
            raise_for(study.folder, state, watch(study.folder, state, begun, ctrl_c, news))


def take_up(folder: StudyFolder, state: Path) -> None:
    """See lanes to their ends whose client died, and take in what rented ones left; refused where
    a client drives the study.
    """
    is_rented = folder.terms().get("place") is not None
    with CtrlC() as ctrl_c, driven(folder, state):
        news, runs = News(folder), open_lanes(folder, state)
        for run in runs:
            if is_rented and run.run_id not in folder.load().runs:
                # It was handed no trials, and would do nothing.
                open_ledger(state).ask_to_stop(ctrl_c.now(), run.run_id, "tune resume")
        Attendants(state).take_up(runs)
        if runs:
            names = ", ".join(run.run_id for run in runs)
            say(f"Study {folder.path.name} has lanes at work, and no client: following {names}.")
            runs = watch(folder, state, [run.run_id for run in runs], ctrl_c, news)
        if is_rented:
            bring_home(folder, Writer(folder), state, Terminal())
            news.tell()
            return
        done = folder.load().ended is not None
        raise_for(folder, state, [run for run in runs if done or run.outcome == "stopped"])


def watch(
    folder: StudyFolder, state: Path, run_ids: Sequence[str], ctrl_c: CtrlC, news: "News"
) -> list[Run]:
    """Until the runs are settled, as they are then; says what trials came to. Others carry them."""
    ledger = open_ledger(state)
    attendants = Attendants(state)
    while True:
        try:
            ctrl_c.look()
            runs = [run for each in run_ids if (run := ledger.run(each)) is not None]
            news.tell()
            if all(run.settled for run in runs):
                break
            attendants.look(runs)
            ctrl_c.sleep(LOOK_S)
        except Pressed:
            ctrl_c.answered()
            choice = ask_what_now(ctrl_c)
            ctrl_c.answered()
            if choice == "detach":
                hint = f"mlbroker tune show {folder.path.name}"
                raise Interrupted("left to itself under its cap", hint=hint) from None
            if choice == "stop":
                say("Stopping the lanes.")
                for run_id in run_ids:
                    ledger.ask_to_stop(ctrl_c.now(), run_id, "Ctrl-C")
    for run in runs:
        spent = f"{spent_words(run)} of {exact_usd(run.cap_usd)} USD spent"
        say(f"Run {run.run_id}: {run.outcome}, {spent}")
    return runs


def raise_for(folder: StudyFolder, state: Path, runs: Sequence[Run]) -> None:
    """What became of the study where it is not done; a lane that died meanwhile is a warning."""
    errors: list[MlbrokerError] = []
    for run in runs:
        error = error_of(run, RunFolder.of(state, run.run_id))
        if error is not None:
            errors.append(error)
    found = folder.load()
    if found.ended is not None and not all(each.failed for each in found.trials):
        for error in errors:
            warn(str(error))
    elif errors:
        raise errors[0]


class News:
    """Tells of each trial whose work was ended since it was asked last."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._paid = [each.paid_steps for each in folder.load().trials]
        self._size = 0

    def tell(self) -> None:
        """A line each."""
        results = self._folder.results
        size = results.stat().st_size if results.exists() else 0
        if size == self._size:
            return
        self._size = size
        found = self._folder.load()
        for number, mine in enumerate(found.trials):
            known = self._paid[number] if number < len(self._paid) else 0
            if mine.paid_steps > known:
                say(self._line(found, number))
        self._paid = [each.paid_steps for each in found.trials]

    def _line(self, found: StudyState, number: int) -> str:
        study, mine = found.study, found.trials[number]
        if mine.failed is not None:
            return f"Trial {number} failed: {mine.failed}"
        named = ", ".join(f"{name}={value}" for name, value in mine.point.items())
        return (
            f"Trial {number} at {study.resource} {mine.trial.reached}: {study.metric} "
            f"{figure(study.as_told(mine.trial.score))}; {named}"
        )
