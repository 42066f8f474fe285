"""The lane: trial after trial, paused and resumed, and nothing lost however it ends."""

import math
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.support.mlbroker import wait_for
from tests.support.studies import STUDY, AStudy

from mlbroker.broker.errors import InputError
from mlbroker.broker.measure.agent_link import PROBE_FOLDER
from mlbroker.broker.tuning.writer import Presence
from mlbroker.policies.tuning.interface import FAILED


def starts(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "started").read_text().splitlines()]


def test_trials_are_paused_and_go_on_from_their_checkpoints(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin()
    code, said = study.lane()
    assert code == 0, said
    found = study.now()
    assert len(found.trials) == 8
    best = max(found.trials, key=lambda each: each.trial.score)
    assert best.trial.reached == 9
    assert best.trial.score == pytest.approx(float(best.point["X"]))
    assert {each.trial.reached for each in found.trials} <= {1, 3, 9}
    done: dict[str, int] = {}
    for trial, step, until, x in starts(tmp_path):
        assert int(step) == done.get(trial, 0), "it went on where it was paused"
        assert float(x) == found.trials[int(trial)].point["X"]
        done[trial] = int(until)
    assert not (tmp_path / "ckpt").exists()
    assert found.ended == "8 trials are done, and the best is a whole one"
    assert "The study ends: 8 trials are done" in said
    assert found.curve[-1][1] == best.trial.score
    assert found.spent_s == pytest.approx(found.curve[-1][0], abs=30)


def test_a_lane_that_was_killed_loses_no_result_and_counts_none_twice(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin()
    lane = study.start_lane()
    wait_for(lambda: sum(each.trial.reached > 0 for each in study.now().trials) >= 3)
    lane.kill()
    lane.communicate()
    before = study.now()
    # As a process that dies in the middle of a line leaves it.
    with study.record.results.open("ab") as file:
        file.write(b'{"kind": "metric", "tri')
    assert study.lane()[0] == 0
    after = study.now()
    for old, new in zip(before.trials, after.trials, strict=False):
        assert new.point == old.point
        assert new.trial.best[: old.trial.reached] == old.trial.best
        assert old.metrics.items() <= new.metrics.items()
    assert len(after.trials) == 8
    assert len({str(each.point) for each in after.trials}) == 8
    assert after.runs == ["r", "r"]


def test_a_lane_that_is_asked_to_stop_ends_its_trial_and_blames_nobody(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin("echo here; touch here; exec sleep 1000")
    lane = study.start_lane()
    wait_for((tmp_path / "here").exists)
    lane.send_signal(signal.SIGTERM)
    lane.communicate(timeout=60)
    assert lane.returncode == 128 + signal.SIGTERM
    (only,) = study.now().trials
    assert only.failed is None
    assert only.working_until == 1
    assert study.now().ended is None
    (tmp_path / "here").unlink()
    study.begin()
    assert study.lane()[0] == 0
    assert study.now().trials[0].trial.reached >= 1, "it is taken up, and not forgotten"


def test_two_lanes_never_work_on_one_study(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin()
    here = Presence(study.record, "r")
    code, said = study.lane()
    here.close()
    assert code == 1
    assert "study s is worked on by run r already" in said
    assert study.lane()[0] == 0


def test_a_trial_that_fails_is_a_bad_point_and_is_not_carried_on(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin(f'[ "$MLBROKER_TRIAL" = 2 ] && kill -9 $$; {sys.executable} train.py')
    assert study.lane()[0] == 0
    found = study.now()
    assert found.trials[2].failed == "signal 9"
    assert found.trials[2].trial.score == FAILED
    assert [each.failed for each in found.trials].count(None) == 7


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "exit code 3"),
        ("echo ::mlbroker metric=nan at=1", "it told no number of acc"),
        ("echo done", "no line `::mlbroker metric=… at=…` told acc"),
    ],
)
def test_the_first_five_failing_end_the_study_and_say_why(
    tmp_path: Path, command: str, why: str
) -> None:
    study = AStudy(tmp_path)
    study.begin(command)
    code, said = study.lane()
    assert code == 1
    assert len(study.now().trials) == 5
    assert f"the first 5 trials failed, the last of them: {why}" in said


def test_what_a_job_tells_is_read_with_care(tmp_path: Path) -> None:
    lines = ["metric=0.5 at=1", "metric=0.4 at=3", "metric=9 at=2", "metric=nan at=4",
             "metric=inf at=5", "metric=what at=6", "metric=0.7 at=7", "metric=8 at=7"]  # fmt: skip
    said = "; ".join(f"echo '::mlbroker {line}'" for line in lines)
    study = AStudy(tmp_path, STUDY._replace(trials=1, most=7))
    study.begin(said)
    code, output = study.lane()
    assert code == 0
    (only,) = study.now().trials
    assert "step 2 after step 3 is not counted" in output
    assert [only.metrics.get(step) for step in (1, 2, 3, 7)] == [0.5, None, 0.4, 0.7]
    assert all(math.isnan(only.metrics[step]) for step in (4, 5, 6))
    assert only.trial.best == [0.5] * 6 + [0.7]


@pytest.mark.parametrize(
    ("regex", "line"),
    [
        (r"acc=([0-9.]+)", "acc=0.%s"),
        (r"at (?P<at>\d+): ([0-9.]+)", "at %s: 0.%s"),
        (r"(?P<metric>0[.]\d) after (?P<at>\d+)", "0.%s after %s"),
    ],
)
def test_a_metric_is_found_by_an_expression(tmp_path: Path, regex: str, line: str) -> None:
    study = AStudy(tmp_path, STUDY._replace(trials=1, most=2, regex=regex))
    said = [line.replace("%s", str(step)) for step in (1, 2)]
    study.begin(f"echo nothing; echo {said[0]!r}; echo {said[1]!r}")
    code, output = study.lane()
    assert code == 0, output
    assert study.now().trials[0].metrics == {1: 0.1, 2: 0.2}


def test_an_expression_that_finds_nothing_is_named(tmp_path: Path) -> None:
    study = AStudy(tmp_path, STUDY._replace(regex="loss=(.*)"))
    study.begin("echo acc=1")
    code, said = study.lane()
    assert code == 1
    assert "no line of tune.regex told acc" in said


def test_the_probe_tells_a_metric(tmp_path: Path) -> None:
    script = "from mlbroker_probe import report; report(metric=0.25, at=1); report(metric=.5, at=2)"
    study = AStudy(tmp_path, STUDY._replace(trials=1, most=2))
    study.begin(f"PYTHONPATH={PROBE_FOLDER} {sys.executable} -c '{script}'")
    assert study.lane()[0] == 0
    assert study.now().trials[0].metrics == {1: 0.25, 2: 0.5}


def test_it_ends_a_trial_that_goes_on_beyond_its_steps(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    forever = "trap 'echo saved > saved; exit 0' TERM; echo '::mlbroker metric=1 at=1'; "
    study.begin(forever + "while :; do sleep 0.1; done")
    lane = study.start_lane()
    wait_for(lambda: len(study.now().trials) >= 2)
    lane.kill()
    lane.communicate()
    assert (tmp_path / "saved").exists()
    assert study.now().trials[0].trial.reached == 1


def test_nothing_begins_that_the_money_does_not_pay_for(tmp_path: Path) -> None:
    study = AStudy(tmp_path, STUDY._replace(trials=None))
    study.begin(f"sleep 0.3; {sys.executable} train.py")
    code, said = study.lane(left_s=8.0)
    assert code == 0, said
    found = study.now()
    assert found.ended == "what is left of the budget pays for no more"
    best = max(found.trials, key=lambda each: each.trial.score)
    assert best.trial.reached == 9, "the best was finished while it could be paid for"


def test_patience_ends_a_study_that_gets_no_better(tmp_path: Path) -> None:
    study = AStudy(tmp_path, STUDY._replace(trials=None, most=3))
    study.begin("for s in 1 2 3; do echo ::mlbroker metric=0.5 at=$s; done", patience=2)
    code, said = study.lane()
    assert code == 0
    assert "nothing better in 2 whole trials' work" in said
    assert study.now().stale_steps in (6, 7, 8)


def test_the_best_of_an_earlier_study_come_first(tmp_path: Path) -> None:
    first = AStudy(tmp_path, name="first")
    first.begin()
    assert first.lane()[0] == 0
    best = sorted(first.now().trials, key=lambda each: -each.trial.score)
    second = AStudy(tmp_path, STUDY._replace(trials=3, start_from=("first",)))
    second.begin()
    assert second.lane()[0] == 0
    assert [each.point for each in second.now().trials] == [each.point for each in best[:3]]
    other = AStudy(tmp_path, STUDY._replace(metric="loss", start_from=("first",)), "other")
    other.begin()
    code, said = other.lane()
    assert code == 1
    assert "study first has another space, metric, goal or resource" in said


def test_a_space_that_is_used_up_ends_the_study(tmp_path: Path) -> None:
    study = AStudy(tmp_path, STUDY._replace(trials=None))
    study.begin(searcher="grid")
    code, said = study.lane()
    assert code == 0, said
    found = study.now()
    assert len(found.trials) == 10
    assert found.ended == "all that there is to try was tried"
    assert all(each.trial.reached == 9 for each in found.trials)


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no study 's'"):
        AStudy(tmp_path).now()


def test_a_lane_that_dies_leaves_its_trial_to_the_others(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    # Saves a step that nobody is told of, and dies with its lane.
    dies = "[ -e died ] || { touch died; echo 1 > $MLBROKER_CHECKPOINT_DIR/step; kill -9 $PPID; }"
    study.begin(f"{dies}; {sys.executable} train.py")
    first = study.start_lane(run="a", number="1/2")
    first.communicate(timeout=60)
    assert study.now().trials[0].lane == "a"
    second = study.start_lane(run="b", number="2/2")
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    found = study.now()
    assert found.runs == ["a", "b"]
    assert "Trial 0 to 1, as it was interrupted" in said
    assert sorted(found.trials[0].metrics)[0] == 1, "from its last pause, so that no step is lost"
    assert len(found.trials) == 8
    assert not any(each.trial.busy for each in found.trials)


def test_a_trial_over_which_three_lanes_died_has_failed(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin(f'[ "$MLBROKER_TRIAL" = 1 ] && kill -9 $PPID; {sys.executable} train.py')
    for run in "abc":
        study.start_lane(run=run).communicate(timeout=60)
    assert study.start_lane(run="d").wait(timeout=120) == 0
    assert study.now().trials[1].failed == "3 lanes died over it"
    assert len(study.now().trials) == 8


def test_lanes_beside_each_other_share_the_work(tmp_path: Path) -> None:
    study = AStudy(tmp_path, STUDY._replace(trials=20))
    study.begin()
    lanes = [study.start_lane(run=run, number=f"{at}/3") for at, run in enumerate("abc", 1)]
    assert [lane.wait(timeout=120) for lane in lanes] == [0, 0, 0]
    found = study.now()
    assert len(found.trials) == 20
    assert len({str(each.point) for each in found.trials}) == 20
    assert found.ended == "20 trials are done, and the best is a whole one"
    done: dict[str, int] = {}
    for trial, step, until, _ in starts(tmp_path):
        assert int(step) == done.get(trial, 0), "each went on from its pause, in any lane"
        done[trial] = int(until)
    assert not (tmp_path / "ckpt").exists()


def test_lanes_share_the_cores(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    study = AStudy(tmp_path, STUDY._replace(trials=1, most=1))
    study.begin("nproc > cores; echo '::mlbroker metric=1 at=1'")
    assert study.start_lane(number="2/2").wait(timeout=60) == 0
    assert int((tmp_path / "cores").read_text()) == max(cores // 2, 1)


def test_a_job_that_saves_where_all_lanes_would_is_told_so(tmp_path: Path) -> None:
    study = AStudy(tmp_path)
    study.begin("mkdir -p ckpt; touch ckpt/model; echo '::mlbroker metric=1 at=1'")
    lane = study.start_lane(number="1/2")
    said, _ = lane.communicate(timeout=60)
    assert "saves itself in ckpt, and not, as several lanes need it" in said
    assert len(study.now().trials) == 1
