"""The user's own terms with the clouds: discounts, commitments, capacity already paid for.

The file is `MLBROKER_TERMS`, else `<home>/terms.yaml`:

    currency: {code: EUR, per_usd: 0.92}          # how prices are shown beside US dollars
    terms:
      - {name: enterprise discount, cloud: aws, percent_off: 12}
      - {name: 3-year savings plan, cloud: aws, family: g5, region: us-east-1, percent_off: 55}
      - {name: committed use, cloud: gcp, instance_type: a2-highgpu-1g, price_per_hour_usd: 1.65}
      - {name: reservation, cloud: azure, instance_type: Standard_NC24ads_A100_v4,
         region: eastus, already_paid: true, until: 2027-06-30}

The best matching term holds for an offer; terms are not added up. They apply to on-demand
prices, unless `market: spot` or `market: any` says otherwise.
"""

import os
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_flag, parse_money_usd, parse_number
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import quoted, read_text
from mlbroker.broker.home import named_file
from mlbroker.pricing.price_units import nano_from_usd
from mlbroker.pricing.vendors import vendor

ENVIRONMENT = "MLBROKER_TERMS"
# What already is paid for costs nothing more; a price of zero would mean a missing price.
PAID_NANO_USD = 1
_KEYS = (
    "name",
    "cloud",
    "region",
    "family",
    "instance_type",
    "market",
    "percent_off",
    "price_per_hour_usd",
    "already_paid",
    "until",
)
_EFFECTS = ("percent_off", "price_per_hour_usd", "already_paid")
_MARKETS: Mapping[str, tuple[int, ...]] = {"on_demand": (0,), "spot": (1,), "any": (0, 1)}
_MOST_TERMS = 1_000


class Term(NamedTuple):
    """One condition: which offers it is for, and what they cost under it."""

    name: str
    cloud: str
    region: str | None
    family: str | None
    instance_type: str | None
    markets: tuple[int, ...]
    share: str | None  # what is left of the list price, as a decimal number
    price_nano_usd: int | None
    until: date | None

    def admits(self, name: str) -> bool:
        """Whether a machine type is one of those the term is for."""
        if self.instance_type is not None:
            return name == self.instance_type
        return self.family is None or vendor(self.cloud).family(name) == self.family

    def price(self, list_nano_usd: int) -> int:
        """The price under the term, for a list price."""
        if self.price_nano_usd is not None:
            return self.price_nano_usd
        return max(1, int(list_nano_usd * Decimal(self.share or "1")))


class Currency(NamedTuple):
    """The currency prices are shown in beside US dollars, at the user's own rate."""

    code: str
    per_usd: Decimal


class Terms(NamedTuple):
    """The terms file, read."""

    terms: tuple[Term, ...] = ()
    currency: Currency | None = None


def terms_file(home: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The terms file in use, None when there is none; one that was named must exist."""
    return named_file(home / "terms.yaml", ENVIRONMENT, environ)


def own_currency(home: Path) -> Currency | None:
    """The currency that the user wants to see beside US dollars."""
    path = terms_file(home)
    return None if path is None else load_terms(path, date.today()).currency


def load_terms(path: Path, today: date) -> Terms:
    """The terms that hold today."""
    known = ("currency", "terms")
    top = Fields.document(read_text(path), str(path), known, "terms:\n  - name: …")
    terms = [_term(fields) for fields in top.items("terms", _MOST_TERMS)]
    currency = top.section("currency")
    return Terms(
        tuple(term for term in terms if term.until is None or term.until >= today),
        _currency(currency) if currency else None,
    )


def _term(fields: Fields) -> Term:
    fields.refuse_unknown(_KEYS)
    name, cloud = fields.required("name", str), fields.required("cloud", str)
    given = [key for key in _EFFECTS if fields.node(key)]
    if len(given) != 1:
        fields.fail(given[1] if given else "name", f"give one of {', '.join(_EFFECTS)}")
    if fields.node("family") and fields.node("instance_type"):
        fields.fail("family", "give either family or instance_type")
    percent = fields.value("percent_off", _percent)
    price = fields.value("price_per_hour_usd", parse_money_usd)
    if fields.value("already_paid", parse_flag) is False:
        fields.fail("already_paid", "can only be true")
    nano = nano_from_usd(price) if price is not None else None
    if price is not None and nano is None:
        fields.fail("price_per_hour_usd", "is not a price per hour")
    return Term(
        name[:80],
        cloud,
        fields.text("region"),
        fields.text("family"),
        fields.text("instance_type"),
        fields.value("market", _market) or (0,),
        None if percent is None else str(1 - percent / 100),
        PAID_NANO_USD if "already_paid" in given else nano,
        fields.value("until", _day),
    )


def _percent(text: str) -> Decimal:
    value = parse_number(text.strip().removesuffix("%").strip())
    if not 0 < value < 100:
        raise InputError("must be more than 0 and less than 100", hint="write 12 for 12 %")
    return value


def _market(text: str) -> tuple[int, ...]:
    if text not in _MARKETS:
        raise InputError(f"{quoted(text)} is not a market", hint=", ".join(_MARKETS))
    return _MARKETS[text]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{quoted(text)} is not a date", hint="write 2027-06-30") from None


def _currency(fields: Fields) -> Currency:
    fields.refuse_unknown(("code", "per_usd"))
    code = fields.text("code") or ""
    if not re.fullmatch("[A-Z]{3}", code):
        fields.fail("code", f"{quoted(code)} is not a currency code", "for example EUR")
    rate = fields.value("per_usd", parse_number)
    if not rate:
        fields.fail("per_usd", "give how much of it one US dollar is", "per_usd: 0.92")
    return Currency(code, rate)
