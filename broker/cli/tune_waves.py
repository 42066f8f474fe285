"""The foreground of a study on rented machines: wave after wave, until it is done."""

from pathlib import Path

from mlbroker.broker.app.run import reserve
from mlbroker.broker.app.tune import PreparedStudy, next_plan
from mlbroker.broker.app.tune_lanes import LanePlan, bring_home, driven, rented
from mlbroker.broker.cli.ctrl_c import CtrlC
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.cli.tune_carry import News, raise_for, watch
from mlbroker.broker.errors import Interrupted, RefusedError
from mlbroker.broker.home import private_folder
from mlbroker.broker.output import say
from mlbroker.broker.runs.background import carry_in_background
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.tuning.deciding import PAYS_FOR_NO_MORE, why_done, why_no_more
from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.waves import PER_LANE, Task, batch_body, hand_over, next_wave
from mlbroker.broker.tuning.writer import Writer
from mlbroker.broker.words import count


def begin_waves(study: PreparedStudy, secrets: dict[str, str], state: Path) -> None:
    """See the study to its end; raises what kept a whole wave from bringing anything."""
    with CtrlC() as ctrl_c, driven(study.folder, state):
        study.begin(state)
        Waves(study, secrets, state, ctrl_c).run()


class Waves:
    """One client's."""

    def __init__(
        self, study: PreparedStudy, secrets: dict[str, str], state: Path, ctrl_c: CtrlC
    ) -> None:
        self._study, self._secrets, self._home, self._ctrl_c = study, secrets, state, ctrl_c
        self._folder = study.folder
        self._writer = Writer(study.folder)
        self._news = News(study.folder)
        bring_home(study.folder, self._writer, state, Terminal())
        with self._writer.alone():
            seed = int(study.terms["seed"])
            self._proposals = Proposals(study.folder, self._writer.state, seed)

    def run(self) -> None:
        """Until the study has ended."""
        plan: LanePlan | None = self._study.plan
        while plan is not None:
            batches = self._next(plan)
            if not batches:
                return
            begun = self._launch(plan, batches)
            runs = watch(self._folder, self._home, begun, self._ctrl_c, self._news)
            brought = bring_home(self._folder, self._writer, self._home, Terminal())
            self._news.tell()
            stopped = [run.run_id for run in runs if run.outcome == "stopped"]
            if stopped:
                hint = f"mlbroker tune resume {self._folder.path.name}"
                raise Interrupted("stopped; everything is accounted for", hint=hint)
            if not brought:
                raise_for(self._folder, self._home, runs)
            plan = self._again()

    def _again(self) -> LanePlan | None:
        try:
            return next_plan(self._study, self._home, Terminal())
        except RefusedError:
            with self._writer.alone():
                self._end(self._why_done() or PAYS_FOR_NO_MORE)
            return None

    def _why_done(self) -> str | None:
        return why_done(self._writer.state, self._study.terms.get("patience"))

    def _end(self, why: str) -> None:
        self._writer.add(kind="ended", why=why)
        say(f"The study ends: {why}.")

    def _next(self, plan: LanePlan) -> list[list[Task]]:
        """A batch for each lane; none where the study is over, and the record says so."""
        with self._writer.alone():
            while self._writer.news:
                self._proposals.tell(self._writer.state.trials[self._writer.news.pop(0)])
            why = self._why_done()
            batches = [] if why else next_wave(
                self._writer, self._proposals, len(plan.lanes), plan.paid_s,
                self._study.terms["checkpoint"] is None, max(PER_LANE // len(plan.kinds), 1),
            )  # fmt: skip
            if not batches:
                self._end(why or why_no_more(self._writer.state, self._proposals))
            return batches

    def _launch(self, plan: LanePlan, batches: list[list[Task]]) -> list[str]:
        trials = sum(map(len, batches))
        say(f"A wave of {count(trials, 'trial')} in {count(len(batches), 'lane')}.")
        begun: list[str] = []
        for number, batch in enumerate(batches, start=1):
            body = batch_body(self._study.terms, self._writer.state, batch)
            prepared = rented(plan, number, len(batches), body, self._home)
            with reserve(prepared, self._secrets, self._home, Terminal()) as run:
                private_folder(str(self._folder.lane(run.run_id)))
                archive = RunFolder.of(self._home, run.run_id).checkpoint
                hand_over(self._folder, self._writer, run.run_id, batch, archive)
                begun.append(run.run_id)
                carry_in_background(self._home, run.run_id, self._secrets)
        return begun
