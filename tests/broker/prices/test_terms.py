"""The user's own terms: what they do to prices, and what is wrong with a terms file."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.small_book import small_book

from mlbroker.broker.errors import InputError
from mlbroker.broker.prices import browse
from mlbroker.broker.prices.price_book import PriceBook, open_book
from mlbroker.broker.prices.terms import Term, load_terms

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module", autouse=True)
def _small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small_book(tmp_path_factory.mktemp("data"), {"us-east-1", "eu-west-1", "us-central1"}):
        yield


def with_terms(home: Path, *terms: str) -> PriceBook:
    home.mkdir(exist_ok=True)
    lines = "\n".join(f"  - {{{term}}}" for term in terms)
    (home / "terms.yaml").write_text(f"terms:\n{lines}\n")
    return open_book(home, today=TODAY)


def price(book: PriceBook, name: str, region: str, market: str = "on_demand") -> Decimal:
    return next(
        row.price_per_hour_usd
        for row in browse.prices(book, name)
        if (row.region, row.market) == (region, market)
    )


def test_a_discount_reaches_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    plain = open_book(tmp_path / "plain", today=TODAY)
    book = with_terms(
        tmp_path / "home", "name: edp, cloud: aws, family: g5, region: us-east-1, percent_off: 10"
    )
    assert price(book, "g5.xlarge", "us-east-1") == Decimal("0.9054")
    assert price(book, "g5.xlarge", "eu-west-1") == price(plain, "g5.xlarge", "eu-west-1")
    for name, region, market in (
        ("g5.xlarge", "us-east-1", "spot"), ("g4dn.xlarge", "us-east-1", "on_demand"),
    ):  # fmt: skip
        assert price(book, name, region, market) == price(plain, name, region, market)
    assert book.snapshot.id != plain.snapshot.id


def test_a_savings_plan_beats_spot_in_every_reading(tmp_path: Path) -> None:
    book = with_terms(
        tmp_path, "name: 3y plan, cloud: aws, family: g5, region: us-east-1, percent_off: 80"
    )
    type_id = next(i for i, _, entry in book.types() if entry.name == "g5.xlarge")
    shortlist = book.price_rows(depth=1, type_ids=[type_id])
    assert shortlist == [row for row in book.price_rows(None, None, [type_id])
                         if row in shortlist]  # fmt: skip
    on_demand = next(row for row in shortlist if not row[1])
    assert book.regions()[on_demand[2]].name == "us-east-1"
    assert on_demand[3] < next(row for row in shortlist if row[1])[3]
    assert next(iter(book.prices_of(type_id, 0)))[:4] == on_demand[:4]
    offer = book.offer(*on_demand[:3])
    assert offer.price_per_hour_usd == Decimal("0.2012")
    assert "3y plan" in offer.source
    listed = browse.list_prices(book, "g5.xlarge")
    assert listed["aws", "us-east-1", "on_demand"] == Decimal("1.006")


def test_the_best_of_several_terms_holds_and_they_are_not_added_up(tmp_path: Path) -> None:
    book = with_terms(
        tmp_path,
        "name: a, cloud: aws, percent_off: 10",
        "name: b, cloud: aws, family: g5, percent_off: 30",
        "name: c, cloud: aws, instance_type: g5.xlarge, price_per_hour_usd: 0.9",
        "name: dear, cloud: aws, instance_type: m5.large, price_per_hour_usd: 5",
    )
    assert price(book, "g5.xlarge", "us-east-1") == Decimal("0.7042")
    assert price(book, "m5.large", "us-east-1") == Decimal("0.0864")


def test_capacity_already_paid_for_costs_next_to_nothing_but_has_a_price(tmp_path: Path) -> None:
    term = "name: r, cloud: aws, instance_type: p4d.24xlarge, region: us-east-1, already_paid: true"
    book = with_terms(tmp_path, term)
    assert price(book, "p4d.24xlarge", "us-east-1") == Decimal("1E-9")
    assert browse.odd_prices(book) == []


def test_a_term_ends_with_its_day(tmp_path: Path) -> None:
    term = "name: t, cloud: aws, percent_off: 50, until: 2026-11-24"
    book = with_terms(tmp_path, term)
    assert price(book, "m5.large", "us-east-1") == Decimal("0.048")
    later = open_book(tmp_path, today=date(2026, 11, 25))
    assert price(later, "m5.large", "us-east-1") == Decimal("0.096")


def test_exported_prices_are_list_prices(tmp_path: Path) -> None:
    book = with_terms(tmp_path, "name: t, cloud: aws, percent_off: 50, market: any")
    rows = [row for row in browse.prices(book) if row.instance_type == "m5.large"]
    here = {(row.region, row.market): row.price_per_hour_usd for row in rows}
    assert here["us-east-1", "on_demand"] == Decimal("0.096")
    assert not any(", t" in row.source for row in rows)


def test_terms_apply_to_a_price_file_too(tmp_path: Path) -> None:
    with_terms(tmp_path, "name: t, cloud: aws, percent_off: 50")
    file = tmp_path / "p.csv"
    file.write_text(
        "cloud,region,instance_type,market,price_per_hour_usd,as_of,source\n"
        "aws,us-east-1,m5.large,on_demand,0.2,2026-11-01,mine\n"
    )
    book = open_book(tmp_path, file, today=TODAY)
    assert price(book, "m5.large", "us-east-1") == Decimal("0.1")


@given(st.integers(1, 10**13), st.integers(1, 9999))
def test_a_price_under_a_discount_is_positive_and_never_dearer(nano: int, hundredths: int) -> None:
    share = str(1 - Decimal(hundredths) / 10_000)
    term = Term("t", "aws", None, None, None, (0,), share, None, None)
    assert 0 < term.price(nano) <= nano


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("terms: 3\n", "must be a list"),
        ("term: []\n", "did you mean 'terms'"),
        ("terms:\n- {cloud: aws, percent_off: 5}\n", "name: is missing"),
        ("terms:\n- {name: a, percent_off: 5}\n", "cloud: is missing"),
        ("terms:\n- {name: a, cloud: aws}\n", "give one of"),
        ("terms:\n- {name: a, cloud: aws, percent_off: 5, already_paid: true}\n", "give one of"),
        ("terms:\n- {name: a, cloud: aws, percent_off: 0}\n", "more than 0"),
        ("terms:\n- {name: a, cloud: aws, percent_off: 100}\n", "less than 100"),
        ("terms:\n- {name: a, cloud: aws, percent_off: -5}\n", "not a number"),
        ("terms:\n- {name: a, cloud: aws, already_paid: false}\n", "can only be true"),
        ("terms:\n- {name: a, cloud: aws, percent_off: 5, market: spott}\n", "not a market"),
        ("terms:\n- {name: a, cloud: aws, percent_off: 5, until: soon}\n", "not a date"),
        ("terms:\n- {name: a, cloud: aws, percent: 5}\n", "unknown key 'percent'"),
        ("terms:\n- {name: a, cloud: aws, price_per_hour_usd: 5 EUR}\n", "not in US dollars"),
        ("terms:\n- {name: a, cloud: aws, family: g5, instance_type: g5.xlarge, percent_off: 5}\n",
         "either family or instance_type"),
        ("currency: {code: euro, per_usd: 1}\n", "not a currency code"),
        ("currency: {code: EUR, per_usd: 0}\n", "one US dollar"),
        ("currency: {code: EUR}\n", "one US dollar"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_place_and_key(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as refused:
        load_terms(path, TODAY)
    assert str(path) in str(refused.value)


def test_a_currency_of_display_at_the_users_rate(tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text("currency: {code: EUR, per_usd: 0.92}\n")
    currency = load_terms(path, TODAY).currency
    assert currency is not None
    assert currency == ("EUR", Decimal("0.92"))
