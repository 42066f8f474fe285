"""The strict YAML reader: what is plain data is read, everything else is refused at once."""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support.hostile import CONTENTS, TEXTS, make_paths

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import load_jobs, parse_jobs
from mlbroker.broker.files.yaml_strict import MAX_DEPTH, Node, parse


@contextmanager
def own_time() -> Iterator[Callable[[], float]]:
    """Seconds of processor time of this thread alone: what other threads of the process do, and
    what earlier tests left for the collector of garbage, is not of the text's making.
    """
    gc.disable()
    started = time.thread_time()
    try:
        yield lambda: time.thread_time() - started
    finally:
        gc.enable()


def ordinary_s() -> float:
    """What this machine, as busy as it is now, needs for a plain document of nearly full size."""
    text = "".join(f"k{n}: {n}\n" for n in range(9_000))
    with own_time() as taken_s:
        parse(text, "plain.yaml")
        return taken_s()


def refusal(path: Path) -> str:
    with own_time() as passed_s:
        with pytest.raises(InputError) as caught:
            load_jobs(path)
        taken_s = passed_s()
    # A bomb takes ten times more with each level of its nesting.
    assert taken_s < 0.5 or taken_s < 20 * ordinary_s()
    return str(caught.value)


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    text, expected = TEXTS[name]
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    message = refusal(path)
    assert message.startswith(str(path))
    assert expected in message
    assert len(message) < 400


@pytest.mark.parametrize("name", CONTENTS)
def test_other_encodings_are_refused(name: str, tmp_path: Path) -> None:
    content, expected = CONTENTS[name]
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    assert expected in refusal(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    for name, (path, expected) in make_paths(tmp_path).items():
        assert expected in refusal(path), name


def test_all_hostile_texts_fit_into_200_mb(tmp_path: Path) -> None:
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps([text for text, _ in TEXTS.values()]))
    script = (
        "import json, re, sys\n"
        "from mlbroker.broker.errors import InputError\n"
        "from mlbroker.broker.files.job_file import parse_jobs\n"
        "refused = 0\n"
        "for text in json.load(open(sys.argv[1])):\n"
        "    try: parse_jobs(text, 'job.yaml', None)\n"
        "    except InputError: refused += 1\n"
        # Not getrusage: its peak starts at that of the process which started this one.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(refused, peak)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(texts)], capture_output=True, text=True, check=True
    )
    refused, peak_kib = map(int, done.stdout.split())
    assert refused == len(TEXTS)
    assert peak_kib < 200 * 1024


def test_lines_and_keys_are_named() -> None:
    with pytest.raises(InputError) as caught:
        parse_jobs("run: x\nbroker:\n  budget: 5\n  budget: 6\n", "a/job.yaml", None)
    assert caught.value.where == "a/job.yaml:4"
    assert "'budget' is given twice (first on line 3)" in str(caught.value)


def test_scalars_stay_what_was_written() -> None:
    (node,) = parse("a: NO\nb: 90:00\nc: 1e3\nd: .nan\ne: 0x10\nf: 'null'\ng: null\n", "x")
    assert node.fields is not None
    values = {key: value for key, (_, value) in node.fields.items()}
    assert [values[key].text for key in "abcde"] == ["NO", "90:00", "1e3", ".nan", "0x10"]
    assert not values["f"].is_null
    assert values["g"].is_null


def test_depth_is_capped_where_it_says() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x")
    with pytest.raises(InputError, match="nested"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "x")


def test_documents_come_in_order_and_empty_ones_are_left_out() -> None:
    nodes = parse("a\n---\n---\nb\n...\n---\n", "x")
    assert [(node.text, node.line) for node in nodes] == [("a", 1), ("b", 4)]


def plain(node: Node) -> object:
    """The node as Python data."""
    if node.fields is not None:
        return {key: plain(value) for key, (_, value) in node.fields.items()}
    if node.items is not None:
        return [plain(item) for item in node.items]
    return None if node.is_null else node.text


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
trees = st.recursive(
    words, lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=20
)


@given(st.dictionaries(words, trees, min_size=1))
def test_reads_what_a_yaml_writer_wrote(tree: dict[str, object]) -> None:
    class Writer(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    (node,) = parse(yaml.dump(tree, Dumper=Writer, allow_unicode=True), "x")
    assert plain(node) == tree


@given(st.text(max_size=200) | st.text("ab:{}[]- \n'\"&*!|>#%?,<", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_jobs(text, "job.yaml", None)
    except InputError as error:
        assert str(error).startswith("job.yaml")  # noqa: PT017  # a refusal is one good outcome
