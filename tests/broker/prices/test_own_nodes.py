"""The user's own machines beside the vendors' in one book."""

from datetime import date
from decimal import Decimal

from tests.support.books import SmallBook

from mlbroker.broker.files.nodes import ON_PREM, Node
from mlbroker.broker.prices.own_nodes import WithNodes
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.offer import Hardware, InstanceType, Market
from mlbroker.pricing.region import Region

PLAIN = Hardware(4, 16, "x86_64")
BOOK = SmallBook(
    [InstanceType("aws", "a", PLAIN), InstanceType("aws", "b", PLAIN)],
    [Region("aws", "r1")],
    {(0, 0, Market.ON_DEMAND): "1", (1, 0, Market.SPOT): "0.5"},
    {},
)
BOX = Node("box", PLAIN, Decimal("0.25"), "stated", host=None)
FAR = Node("far", PLAIN, Decimal("0.125"), "stated", host="far.example")


def test_nodes_follow_the_books_own_types_and_regions() -> None:
    book = WithNodes(BOOK, [BOX, FAR], date(2026, 11, 1))
    assert [kind.name for _, _, kind in book.types()] == ["a", "b", "box", "far"]
    assert [r.name for r in book.regions().values()] == ["r1", ON_PREM, ON_PREM]
    rows = book.price_rows(None)
    assert rows[:2] == BOOK.price_rows(None)
    assert [row[3] for row in rows[2:]] == [250_000_000, 125_000_000]
    number, _, place = rows[3][:3]
    assert book.price_rows(None, [place]) == list(book.prices_of(number, 0)) == [rows[3]]
    assert list(book.prices_of(number, 1)) == []
    offer = book.offer(number, 0, place)
    assert (offer.cloud, offer.instance_type, offer.source) == ("ssh", "far", "stated")
    assert book.offer(0, 0, 0) == BOOK.offer(0, 0, 0)


def test_the_book_is_not_read_again_for_each_offer() -> None:
    class Counted(SmallBook):
        asked = 0

        def types(self) -> list[TypeEntry]:
            Counted.asked += 1
            return super().types()

    book = WithNodes(
        Counted(BOOK.kinds, BOOK.places, BOOK.prices, BOOK.rates), [BOX], date(2026, 11, 1)
    )
    for _ in range(3):
        book.types()
        book.offer(0, 0, 0)
        list(book.prices_of(0, 0))
        book.price_rows(1)
    assert Counted.asked == 1
