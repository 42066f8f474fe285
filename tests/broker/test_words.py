"""Times and counts are written as people say them."""

from decimal import Decimal

import pytest

from mlbroker.broker.words import count, exact_usd, figure, mass, span, stopwatch


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0312, "0.0312 s"),
        (99.4, "99.4 s"),
        (256.2, "4.27 min"),
        (16000, "4.44 h"),
        (4e7, "11,111 h"),
    ],
)
def test_a_span_has_the_unit_that_suits_it(seconds: float, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("kg", "said"),
    [
        (0.0, "0 kg"),
        (6.3e-8, "0.063 mg"),
        (6.3e-5, "63 mg"),
        (0.00481, "4.8 g"),
        (0.0999, "100 g"),
        (0.24, "0.24 kg"),
        (1234.0, "1,200 kg"),
    ],
)
def test_a_mass_has_the_unit_that_suits_it(kg: float, said: str) -> None:
    assert mass(kg) == said


def test_no_figure_is_a_power_of_ten_and_one_is_not_many() -> None:
    assert figure(4240.4) == "4,240"
    assert figure(123456.0) == "123,456"
    assert figure(0.0562) == "0.0562"
    assert [count(1, "step"), count(2400, "step")] == ["1 step", "2,400 steps"]


def test_money_of_the_books_is_exact_and_plain() -> None:
    said = [exact_usd(Decimal(text)) for text in ("25.00", "0.000001", "1E+2", "3")]
    assert said == ["25", "0.000001", "100", "3"]


def test_a_stopwatch_counts_hours() -> None:
    assert [stopwatch(59.9), stopwatch(3661)] == ["0:00:59", "1:01:01"]
