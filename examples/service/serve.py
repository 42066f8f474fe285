"""A classifier of short texts behind a standard-library server: scikit-learn's, as it was learnt.

POST /classify {"text": "..."} answers {"label": "praise", "probability": 0.93}; GET /health says
that it is ready. It listens on $PORT, else 8080.
"""

import json
import math
import os
import re
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORD = re.compile(r"[a-z']+|[?]")
MODEL = Path(__file__).with_name("learnt.json")


class Model:
    """A logistic regression over TF-IDF: each word's idf, then its weight for each label."""

    def __init__(self, path: Path) -> None:
        learnt = json.loads(path.read_text(encoding="utf-8"))
        self.labels = list(learnt["labels"])
        self.intercepts = list(learnt["labels"].values())
        self.words = learnt["words"]

    def label(self, text: str) -> tuple[str, float]:
        """The likeliest label, and its probability."""
        counts = Counter(word for word in WORD.findall(text.lower()) if word in self.words)
        values = {word: count * self.words[word][0] for word, count in counts.items()}
        length = math.hypot(*values.values()) or 1.0
        scores = [
            intercept + sum(value / length * self.words[word][at] for word, value in values.items())
            for at, intercept in enumerate(self.intercepts, start=1)
        ]
        shares = [math.exp(score - max(scores)) for score in scores]
        best = max(shares)
        return self.labels[shares.index(best)], best / sum(shares)


class Handler(BaseHTTPRequestHandler):
    """Answers on connections that are kept."""

    protocol_version = "HTTP/1.1"
    model: Model

    def do_GET(self) -> None:
        """The readiness probe."""
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        """A text to label."""
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            label, probability = self.model.label(str(asked["text"]))
            self.answer(200, {"label": label, "probability": round(probability, 3)})
        except (KeyError, TypeError, ValueError):
            self.answer(400, {"error": 'a body like {"text": "..."} is wanted'})

    def answer(self, status: int, document: dict[str, object]) -> None:
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
    Handler.model = Model(MODEL)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
