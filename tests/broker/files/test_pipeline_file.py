"""Several documents in one file: what makes a pipeline, and what is refused with line and stage."""

from pathlib import Path

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import PipelineFile, load_job, parse_jobs
from mlbroker.broker.files.pipeline_file import load_pipeline, parse_pipeline

HEADER = "name: whole\nbroker: {deadline: 6h, budget: 9 USD, confidence: 0.8, objective: carbon}\n"


def stage(name: str, needs: str | None = None) -> str:
    block = "" if needs is None else f"broker: {{needs: {needs}}}\n"
    return f"name: {name}\nrun: echo {name}\n{block}"


def pipeline(*documents: str) -> PipelineFile:
    found = parse_pipeline("---\n".join(documents), "p.yaml", None)
    assert found is not None
    return found


def test_a_stage_without_a_name_has_the_files_and_its_number() -> None:
    found = pipeline(HEADER, "run: x\n", stage("b", "[]"), "run: y\nbroker: {needs: [p-1, b]}\n")
    assert [file.job.name for file in found.stages] == ["p-1", "b", "p-3"]
    assert found.needs == ((), (), (0, 1))
    assert found.stage_line(2) == "p.yaml:10: p-3"


def test_documents_are_a_chain_in_their_order() -> None:
    found = pipeline(stage("a"), stage("b"), stage("c"))
    assert [file.job.name for file in found.stages] == ["a", "b", "c"]
    assert found.needs == ((), (0,), (1,))
    assert found.name == "p"
    assert found.header.deadline is None


def test_the_header_holds_the_limits_of_the_whole() -> None:
    found = pipeline(HEADER, stage("a"), stage("b"))
    header = found.header
    assert found.name == "whole"
    assert header.deadline is not None
    assert header.deadline.duration_s == 6 * 3600
    assert (str(header.budget_usd), header.confidence, str(header.objective.kind)) == (
        "9", 0.8, "carbon",
    )  # fmt: skip
    assert found.line("broker.budget") == "p.yaml:2: broker.budget"
    assert found.stage_line(1) == "p.yaml:7: b"


def test_needs_make_it_a_graph() -> None:
    found = pipeline(stage("a"), stage("b", "[]"), stage("c"), stage("d", "[a, c]"))
    assert found.needs == ((), (), (1,), (0, 2))


def test_a_group_of_jobs_waits_for_nobody() -> None:
    found = pipeline("name: all\nexecution: parallel\n", stage("a"), stage("b"))
    assert found.needs == ((), ())
    assert found.header.not_run


def test_one_job_is_no_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    for text in (stage("a"), "name: x\n---\n" + stage("a"), stage("a") + "---\n", "run: [", ""):
        path.write_text(text)
        assert load_pipeline(path) is None
    assert load_pipeline(tmp_path / "none.yaml") is None


REFUSED = {
    "twice": ([stage("a"), stage("a")], r"p.yaml:4: name: 'a' is given to two stages"),
    "unknown need": (
        [stage("prepare"), stage("b", "[prepar]")],
        r"p.yaml:6: b: broker.needs: names 'prepar', which is no stage\n  did you mean prepare\?",
    ),
    "itself": ([stage("a"), stage("b", "[b]")], "names itself"),
    "cycle": ([stage("a", "[c]"), stage("b"), stage("c")], r"p.yaml:3: a: waits for itself: a nee"),
    "needs twice": ([stage("a"), stage("b", "[a, a]")], "names a stage twice"),
    "needs no list": ([stage("a"), stage("b", "a")], "must be a list of names of stages"),
    "empty": ([stage("a"), "", stage("b")], r"p.yaml:4: an empty document"),
    "empty at the end": ([stage("a"), stage("b"), "# nothing\n"], r"p.yaml:8: an empty document"),
    "header with run": (
        ["name: p\nrun: x\nbroker: {deadline: 4h}\n", stage("a")],
        r"p.yaml:3: broker.deadline: holds for the whole pipeline and stands in its header, which",
    ),
    "header with execution and run": (
        ["name: p\nexecution: parallel\nrun: x\n", stage("a")], "p.yaml:2: execution: is of a pip",
    ),
    "budget of a stage": (
        [stage("a"), stage("b") + "broker: {budget: 4}\n"], "p.yaml:6: broker.budget: .* not in a",
    ),
    "work of the whole": (
        ["name: p\nbroker: {work: {steps: 4}}\n", stage("a"), stage("b")],
        "p.yaml:2: broker.work: does not hold for a whole pipeline",
    ),
    "unknown execution": (
        ["name: p\nexecution: parallell\n", stage("a"), stage("b")], "did you mean parallel",
    ),
    "nested too deep": ([stage("a"), "name: b\nrun: " + "[" * 40], "nested more than 32"),
    "no mapping": ([stage("a"), "- x\n"], "p.yaml:4: must be a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str, tmp_path: Path) -> None:
    documents, message = REFUSED[what]
    with pytest.raises(InputError, match=message):
        pipeline_or_jobs("---\n".join(documents))


def pipeline_or_jobs(text: str) -> None:
    """As `plan` reads a file: a pipeline, else one job, which says what is wrong."""
    if parse_pipeline(text, "p.yaml", None) is None:
        parse_jobs(text, "p.yaml", None)


def test_what_one_job_has_none_of(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(stage("a", "[b]"))
    with pytest.raises(InputError, match=r"p.yaml:3: broker.needs: is of a stage"):
        load_job(path)
    path.write_text(HEADER + "---\n" + stage("a"))
    with pytest.raises(InputError, match=r"p.yaml:2: broker: is in a header"):
        load_job(path)
    path.write_text(HEADER)
    with pytest.raises(InputError, match=r"p.yaml:1: run: is missing"):
        load_job(path)


def test_size_counts_over_all_documents() -> None:
    whole = "---\n".join(stage(f"s{n}") for n in range(301))
    with pytest.raises(InputError, match="more than 300 stages"):
        parse_pipeline(whole, "p.yaml", None)
    many = "---\n".join(
        stage(f"s{n}") + "envs: {" + ", ".join(f"V{i}: x" for i in range(600)) + "}\n"
        for n in range(50)
    )
    with pytest.raises(InputError, match="more than 20000 values"):
        pipeline_or_jobs(many)
