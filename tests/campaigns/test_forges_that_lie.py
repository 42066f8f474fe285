"""Forges that lie: what comes back from GitHub or GitLab, or from something between, in any shape.

A failure names its input: CAMPAIGN_SEED=n and `-k` with the test's name do it again.
"""

from collections import Counter
from random import Random

import pytest
from tests.support.campaign import figures, seeds, try_each
from tests.support.forges import TOKEN, FakeForge, running
from tests.support.hostile_forges import Lie

from mlbroker.broker.ci import comment
from mlbroker.broker.ci.forge_api import Api
from mlbroker.broker.ci.forges import FORGES, Forge
from mlbroker.broker.ci.forges.github import GitHub
from mlbroker.broker.ci.forges.gitlab import GitLab
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.http import Http

MARKER = "<!-- mlbroker check: default -->"


@pytest.mark.parametrize("flavour", FORGES)
def test_forges_that_answer_anything(flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API as `check` uses it: an answer is understood, or said to be wrong."""
    monkeypatch.setattr(comment.time, "sleep", lambda _: None)
    said: Counter[str] = Counter()
    shown: list[str] = []

    def one(seed: int) -> None:
        chance = Random(seed)
        forge.notes.clear()
        for number in range(chance.choice((0, 1, 5))):
            forge.add(f"{MARKER}\nold {number}" if chance.random() < 0.5 else "a review")
        forge.page_size = chance.choice((1, 2, 100))
        forge.lie = Lie(chance, forge.url, many, chance.choice((0.1, 0.5, 1.0)))
        behavior = chance.choice(list(comment.BEHAVIORS))
        api = Api(forge.url, tokens[flavour], Http(sleep=lambda _: None, chance=chance.random))
        request: Forge
        request = GitHub(api, api, "acme/ml", 7) if flavour == "github" else GitLab(api, "42", 7)
        try:
            mine = [note for note in request.comments() if note.body.startswith(MARKER)]
            comment.BEHAVIORS[behavior](request, mine, f"{MARKER}\nnew")
            said["done"] += 1
        except MlbrokerError as error:
            said["refused"] += 1
            shown.append(str(error))
        assert TOKEN not in "".join(shown)
        assert forge.seen_tokens <= {tokens[flavour][header]}

    header = {"github": "Authorization", "gitlab": "PRIVATE-TOKEN"}[flavour]
    tokens = {"github": {header: f"Bearer {TOKEN}"}, "gitlab": {header: TOKEN}}
    many = "/repos/acme/ml/issues/7/comments"
    with running(FakeForge(flavour)) as forge, figures(f"lying-{flavour}") as kept:
        count = try_each(seeds(60, 1000), one)
        kept |= {"answers": count, **said, "not understood": 0}
