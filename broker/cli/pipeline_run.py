"""`mlbroker run` of a pipeline: asked for once, and led from stage to stage until it is done."""

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.app.pipeline_rest import PipelineRequest, StagePlan
from mlbroker.broker.app.pipeline_run import Conductor, refuse_stages_not_run, whole_of
from mlbroker.broker.app.pipeline_run_document import pipeline_run_document, state_of
from mlbroker.broker.cli.attendants import LOOK_S, Attendants
from mlbroker.broker.cli.ctrl_c import CtrlC, Pressed
from mlbroker.broker.cli.pipeline_plan import tell_of
from mlbroker.broker.cli.run_carry import ask_what_now, error_of
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.errors import CloudError, Interrupted
from mlbroker.broker.home import home
from mlbroker.broker.ledger import Run, open_ledger
from mlbroker.broker.output import print_json, say, warn
from mlbroker.broker.pipelines.record import folder_of, stage_of, wish_to_stop
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import secret_values
from mlbroker.broker.runs.leading import led
from mlbroker.broker.runs.summary import spent_words
from mlbroker.broker.words import count, duration, exact_usd


def run_pipeline(request: PipelineRequest, *, yes: bool, json: bool) -> None:
    """Plan it, ask, and lead it to its end; raises the error of what became of it."""
    terminal, state = Terminal(), home()
    tell_of(request.file, terminal, to_run=True)
    refuse_stages_not_run(request, terminal)
    with ExitStack() as stack:
        name = request.file.name
        if not request.dry_run:
            hint = "mlbroker ps shows its stages"
            stack.enter_context(led(folder_of(state, name), f"pipeline {name}", hint))
        conductor = Conductor(request, whole_of(request, state), state, terminal)
        plans = conductor.plan()
        _show(conductor, plans)
        if request.dry_run:
            say("Dry run: nothing was reserved, nothing was launched.")
            if json:
                print_json(pipeline_run_document(conductor, plans))
            return
        secrets = {each.job.name: secret_values(each.job) for each in request.file.stages}
        if not yes and plans:
            confirm("Go ahead?", "nothing was reserved, nothing was launched")
        with CtrlC() as ctrl_c:
            _Lead(conductor, secrets, state, ctrl_c).to_its_end()
        if json:
            print_json(pipeline_run_document(conductor))
        _report(conductor, state)


class _Lead:
    """One client's."""

    def __init__(
        self, conductor: Conductor, secrets: dict[str, dict[str, str]], state: Path, ctrl_c: CtrlC
    ) -> None:
        self._conductor, self._secrets, self._ctrl_c = conductor, secrets, ctrl_c
        self._ledger = open_ledger(state)
        self._attendants = Attendants(state)
        self._wish = wish_to_stop(state, conductor.whole.share)
        # Whoever begins wants it to go on.
        self._wish.unlink(missing_ok=True)

    def to_its_end(self) -> None:
        """Until nothing is at work, and nothing can begin."""
        conductor = self._conductor
        if conductor.at_work:
            say(f"At work already: {', '.join(conductor.at_work)}.")
        self._attendants.take_up(self._open())
        changed = True
        while changed or conductor.at_work:
            try:
                self._ctrl_c.look()
                if not conductor.stopping and self._wish.exists():
                    conductor.stop("mlbroker stop")
                if changed:
                    conductor.begin_ready(self._secrets)
                self._attendants.look(self._open())
                if conductor.at_work:
                    self._ctrl_c.sleep(LOOK_S)
                changed = self._heed()
            except Pressed:
                self._ctrl_c.answered()
                choice = ask_what_now(self._ctrl_c)
                self._ctrl_c.answered()
                if choice == "detach":
                    raise self._left() from None
                if choice == "stop":
                    say("Stopping the stages at work.")
                    conductor.stop("Ctrl-C")
            except KeyboardInterrupt:
                # A second one, as the first was not heard.
                raise self._left() from None

    def _open(self) -> list[Run]:
        found = (self._ledger.run(run_id) for run_id in self._conductor.at_work.values())
        return [run for run in found if run is not None]

    def _heed(self) -> bool:
        settled = self._conductor.heed()
        for run in settled:
            say(f"{stage_of(run)}: {run.outcome}, {spent_words(run)} USD spent.")
        return bool(settled)

    def _left(self) -> Interrupted:
        what = "what is at work goes on under the cap, and nothing else begins"
        return Interrupted(what, where=_named(self._conductor), hint=_resume(self._conductor))


def _show(conductor: Conductor, plans: dict[str, StagePlan]) -> None:
    """What is about to be done, for the question and the dry run."""
    share = conductor.whole.share
    done = [name for name in conductor.names if name in conductor.done]
    before = f", {len(done)} done ({', '.join(done)})" if done else ""
    say(f"Pipeline {share.name} ({share.whole_id}): {count(len(plans), 'stage')} to run{before}.")
    for name, plan in plans.items():
        say(f"  {name}: {_where(plan)}, {_how_long(plan)}")
    if plans:
        least_usd = sum((plan.need.usd for plan in plans.values()), Decimal(0))
        say(
            f"Cap {exact_usd(share.budget_usd)} USD for all, of which "
            f"{exact_usd(conductor.left_usd())} USD are left; the plan reserves "
            f"{exact_usd(least_usd)} USD at least."
        )


def _where(plan: StagePlan) -> str:
    if plan.own is not None:
        price = exact_usd(plan.own.price_per_hour_usd)
        return f"{plan.own.instance_type} at {price} USD/h"
    assert plan.quote is not None, "what is planned has a quote"
    quote = plan.quote
    return f"{quote.instance_type} ({quote.cloud}, {quote.region}, {quote.market})"


def _how_long(plan: StagePlan) -> str:
    quote, due = plan.quote, "" if plan.due_s is None else f", due in {duration(plan.due_s)}"
    if quote is None or quote.duration_h is None:
        return f"nobody knows how long{due}"
    return f"about {duration(quote.duration_h.p50 * 3600)}{due}"


def _named(conductor: Conductor) -> str:
    return f"pipeline {conductor.whole.share.whole_id}"


def _resume(conductor: Conductor) -> str:
    whole_id, request = conductor.whole.share.whole_id, conductor.request
    on = "" if request.on is None else f" --on {request.on}"
    return f"Go on: mlbroker run {request.path}{on} --resume {whole_id}"


def _report(conductor: Conductor, state: Path) -> None:
    """What it came to, and the exit code that goes with it."""
    share = conductor.whole.share
    spent_usd = exact_usd(share.budget_usd - conductor.left_usd())
    done = len(conductor.done)
    say(
        f"Pipeline {share.name} ({share.whole_id}): {done} of {len(conductor.names)} stages done, "
        f"{spent_usd} of {exact_usd(share.budget_usd)} USD spent."
    )
    left = [name for name in conductor.names if state_of(conductor, name) == "not_begun"]
    if left:
        say(f"Not begun: {', '.join(left)}. {_resume(conductor)}")
    errors = [] if conductor.trouble is None else [conductor.trouble]
    for name, run in conductor.failed.items():
        folder = RunFolder.of(state, run.run_id)
        error = error_of(run, folder)
        if error is None:
            missing = ", ".join(run.attempt.missing)
            what = f"{name} succeeded, and this of it is not home: {missing}"
            error = CloudError(what, where=f"run {run.run_id}", hint="--resume runs it again.")
        errors.append(error)
    if conductor.stopping:
        what = "stopped; everything is accounted for"
        raise Interrupted(what, where=_named(conductor), hint=_resume(conductor))
    for error in errors[1:]:
        warn(str(error))
    if errors:
        raise errors[0]
