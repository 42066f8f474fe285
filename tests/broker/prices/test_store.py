"""Opening the book: first use, many processes at once, damage, and cost that does not grow."""

import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.prices.price_book import PriceBook, open_book

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    open_book(home).close()
    return home


@pytest.fixture(scope="module")
def book(home: Path) -> PriceBook:
    return open_book(home, today=TODAY)


def test_first_use_says_so_once_and_builds_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = open_book(tmp_path).snapshot
    assert capsys.readouterr().err.count("\n") == 1
    second = open_book(tmp_path).snapshot
    assert capsys.readouterr().err == ""
    assert first == second


def test_equal_content_has_an_equal_snapshot_id(tmp_path: Path, book: PriceBook) -> None:
    assert open_book(tmp_path, today=TODAY).snapshot.id == book.snapshot.id


def test_four_processes_at_first_use_see_one_whole_book(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from mlbroker.broker.prices.price_book import open_book;"
        "s = open_book(Path(sys.argv[1])).snapshot; print(s.id, s.offers)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    results = [process.communicate(timeout=PATIENCE_S) for process in running]
    assert len({out for out, _ in results}) == 1, results
    assert results[0][0].split()[1] == str(open_book(tmp_path).snapshot.offers)
    assert sum("Building" in err for _, err in results) == 1
    assert len(list((tmp_path / "prices").glob("*.sqlite"))) == 1
    assert not list((tmp_path / "prices").glob("*.building"))


def test_what_a_killed_builder_left_is_no_book(tmp_path: Path, home: Path) -> None:
    name = next((home / "prices").glob("book-*.sqlite")).name
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / name).with_suffix(".building").write_bytes(b"half a book")
    assert open_book(tmp_path).snapshot.offers > 100_000


def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    before = open_book(tmp_path).snapshot
    path = next((tmp_path / "prices").glob("book-*.sqlite"))
    path.write_bytes(b"not a database" * 1000)
    assert open_book(tmp_path).snapshot == before


def test_damaged_rows_of_the_users_own_are_named_and_never_dropped(tmp_path: Path) -> None:
    path = tmp_path / "prices" / "own.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(MlbrokerError, match="cannot be read") as refused:
        open_book(tmp_path)
    assert refused.value.where == str(path)
    assert path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="as root may write everywhere: run as another user")
def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MlbrokerError, match="cannot be written"):
        open_book(tmp_path / "home")


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(MlbrokerError, match="cannot be written"):
        open_book(tmp_path / "home")


def test_a_disk_that_is_full_is_said_to_be(tmp_path: Path) -> None:
    # A limit on the size of files stops SQLite in its writing, as a full disk does.
    opened = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, sys; from pathlib import Path\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
            "from mlbroker.broker.prices.price_book import open_book\n"
            "open_book(Path(sys.argv[1]))",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "MlbrokerError" in opened.stderr
    assert "the price index cannot be written" in opened.stderr
    assert list((tmp_path / "prices").glob("*.building")) == []


def test_an_upgraded_book_is_indexed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlbroker.broker.prices import embedded

    open_book(tmp_path).close()
    old = set((tmp_path / "prices").glob("book-*.sqlite"))
    newer = embedded.Description("another hash", "2027-01-01")
    monkeypatch.setattr(embedded, "description", lambda: newer)
    open_book(tmp_path).close()
    assert set((tmp_path / "prices").glob("book-*.sqlite")) - old


def test_rows_come_sorted_and_the_shortlist_is_the_head_of_the_full_list(book: PriceBook) -> None:
    everything = book.price_rows(depth=None)
    assert everything == sorted(everything, key=lambda row: (row[0], row[1], row[3], row[2]))
    for depth in (1, 4, 6):
        expected, group, taken = [], None, 0
        for row in everything:
            if row[:2] != group:
                group, taken = row[:2], 0
            taken += 1
            if taken <= depth:
                expected.append(row)
        assert book.price_rows(depth=depth) == expected


def test_regions_and_types_can_be_asked_for(book: PriceBook) -> None:
    everything = book.price_rows(depth=None)
    regions = {row[2] for row in everything[:5]}
    types = {everything[0][0], everything[-1][0]}
    assert book.price_rows(None, region_ids=regions) == [r for r in everything if r[2] in regions]
    assert book.price_rows(depth=None, type_ids=types) == [r for r in everything if r[0] in types]
    assert book.price_rows(depth=2, type_ids=types) == [
        r for r in book.price_rows(depth=2) if r[0] in types
    ]
    assert book.price_rows(None, region_ids=[]) == []


def test_an_offer_has_its_facts(book: PriceBook) -> None:
    type_id, spot, region_id, price, rate, age_days = next(
        row for row in book.price_rows(1) if row[1] and row[4] is not None
    )
    offer = book.offer(type_id, spot, region_id)
    assert int(offer.price_per_hour_usd * 10**9) == price
    assert offer.interruption_rate == rate
    assert offer.stale == (age_days > 180)
    assert offer.region == book.regions()[region_id].name
    with pytest.raises(KeyError):
        book.offer(type_id, spot, 10_000)


def test_reading_loads_no_heavy_library(home: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from mlbroker.broker.prices.price_book import open_book;"
        "b = open_book(Path(sys.argv[1])); b.types(); b.regions(); b.price_rows(1);"
        "print(sorted({'pandas','numpy','pydantic','rich','lzma','csv'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _reading_time(book: PriceBook) -> float:
    start = time.process_time()  # what other processes take is not in it
    book.price_rows(1)
    return time.process_time() - start


def test_ten_times_the_regions_cost_less_than_twice_the_time(
    tmp_path: Path, book: PriceBook
) -> None:
    # One market of one cloud keeps the test short; the ratio is what counts.
    from mlbroker.broker.prices import browse

    rows = [row for row in browse.prices(book) if row.cloud == "aws"]
    books = {}
    for copies in (1, 10):
        path = tmp_path / f"{copies}.csv"
        with path.open("w") as file:
            file.write("cloud,region,instance_type,market,price_per_hour_usd,as_of,source\n")
            for copy in range(copies):
                file.writelines(
                    f"aws,{row.region}-{copy},{row.instance_type},{row.market},"
                    f"{row.price_per_hour_usd},{row.as_of},test\n"
                    for row in rows
                )
        books[copies] = open_book(tmp_path, path)
        assert books[copies].snapshot.offers == copies * len(rows)
    # Taken in turn, so that a slow moment of the machine is one of both.
    taken = [(_reading_time(books[1]), _reading_time(books[10])) for _ in range(15)]
    one, ten = map(min, zip(*taken, strict=True))
    assert ten < 2 * one + 0.001


def test_burstable_types_that_start_without_credits_have_the_speed_they_keep(
    book: PriceBook,
) -> None:
    speeds = {kind.name: kind.hardware.core_speed for _, _, kind in book.types()}
    usual = book.core_speeds()
    assert speeds["t3.medium"] == pytest.approx(0.2 * usual["Cascade Lake"])
    assert speeds["t3.xlarge"] == pytest.approx(0.4 * usual["Cascade Lake"])
    # The credits of T2 last for half an hour.
    assert speeds["t2.medium"] == usual["Broadwell"]
