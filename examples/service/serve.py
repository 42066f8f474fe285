"""A naive Bayes classifier of short texts behind a standard-library server.

POST /classify {"text": "..."} answers {"label": "praise"}; GET /health says that it is ready.
"""

import json
import math
import re
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORD = re.compile(r"[a-z']+")


class Model:
    """Counts of words by label, from lines of `label<TAB>text`."""

    def __init__(self, path: Path) -> None:
        self.words: dict[str, Counter[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            label, _, text = line.partition("\t")
            self.words.setdefault(label, Counter()).update(WORD.findall(text.lower()))
        self.known = len(set().union(*self.words.values()))

    def label(self, text: str) -> str:
        """The label under which the words are most likely, each counted once more than seen."""

        def score(label: str) -> float:
            counts = self.words[label]
            total = counts.total() + self.known
            return sum(math.log((counts[word] + 1) / total) for word in WORD.findall(text.lower()))

        return max(self.words, key=score)


class Handler(BaseHTTPRequestHandler):
    """Answers on connections that are kept."""

    protocol_version = "HTTP/1.1"
    model = Model(Path(__file__).with_name("texts.tsv"))

    def do_GET(self) -> None:
        """The readiness probe."""
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        """A text to label."""
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(200, {"label": self.model.label(str(asked["text"]))})
        except (KeyError, TypeError, ValueError):
            self.answer(400, {"error": 'a body like {"text": "..."} is wanted'})

    def answer(self, status: int, document: dict[str, str]) -> None:
        """Head and body in one write: two would wait for one another's acknowledgement."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: a line for each request costs more than the answer."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
