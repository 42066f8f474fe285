"""What a forge, or something between it and a CI job, may answer to a cost check."""

from random import Random

from tests.support.mutations import HTML, hostile_answer

STATUSES = (
    200,
    200,
    200,
    201,
    204,
    301,
    302,
    304,
    400,
    401,
    403,
    404,
    409,
    422,
    429,
    500,
    502,
    503,
)
HEADERS = {
    "Retry-After": ("0", "-1", "nan", "1e400", "99999999", "Wed, 21 Oct 2026 07:28:00 GMT", "x"),
    "X-RateLimit-Remaining": ("0", "x", ""),
    "X-RateLimit-Reset": ("0", "nan", "1e400", "9" * 400, "x"),
    "Link": ("<", ">; rel=\"next\"", "<>; rel=\"next\"", "<{url}{path}>; rel=\"next\"",
             "<http://192.0.2.1/x>; rel=\"next\"", "<file:///etc/passwd>; rel=\"next\"",
             "<{url}.evil.example/x>; rel=\"next\"", ",;,;" * 1000),
    "Location": ("http://192.0.2.1/", "file:///etc/passwd", "{url}{path}", "/", ""),
    "Content-Encoding": ("gzip", "br", "identity"),
    "Date": ("x", "Tue, 24 Nov 1970 12:00:00 GMT"),
    "ETag": ("x" * 5000,),
}  # fmt: skip


class Lie:
    """Changes so many of the answers: their body, their status, or their headers."""

    def __init__(self, chance: Random, url: str, path: str, how_often: float) -> None:
        self._chance = chance
        self._url = url
        self._path = path
        self._how_often = how_often

    def __call__(
        self, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        chance = self._chance
        if chance.random() >= self._how_often:
            return status, headers, body
        what = chance.random()
        if what < 0.6:
            return status, headers, hostile_answer(chance, body)
        if what < 0.8:
            return chance.choice(STATUSES), headers, chance.choice((body, HTML, b""))
        name = chance.choice(list(HEADERS))
        said = chance.choice(HEADERS[name]).replace("{url}", self._url)
        return (
            chance.choice((status, *STATUSES)),
            headers | {name: said.replace("{path}", self._path)},
            body,
        )
