"""Learns to label short texts, and writes what it learnt for `serve.py`: learnt.json.

python train.py         needs scikit-learn; the file is in the repository already
"""

import json
from pathlib import Path

from serve import MODEL, WORD, Model
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.pipeline import make_pipeline

TEXTS = Path(__file__).with_name("texts.tsv")


def main() -> None:
    """Train, say how often a text that it has not seen is labelled rightly, and write."""
    rows = [line.split("\t") for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    labels, texts = [row[0] for row in rows], [row[1] for row in rows]
    words = TfidfVectorizer(token_pattern=WORD.pattern)
    learner = LogisticRegression(C=10, max_iter=1000)
    right = cross_val_score(make_pipeline(words, learner), texts, labels, cv=LeaveOneOut())
    print(f"{right.mean():.0%} of {len(texts)} texts, each left out once, are labelled rightly")
    classifier = make_pipeline(words, learner).fit(texts, labels)
    learnt = {
        word: [round(float(words.idf_[at]), 4), *(round(float(w[at]), 4) for w in learner.coef_)]
        for word, at in sorted(words.vocabulary_.items())
    }
    labelled = dict(zip(learner.classes_, map(float, learner.intercept_), strict=True))
    head = {label: round(intercept, 4) for label, intercept in labelled.items()}
    lines = ",\n".join(f"{json.dumps(word)}: {json.dumps(row)}" for word, row in learnt.items())
    MODEL.write_text(f'{{"labels": {json.dumps(head)}, "words": {{\n{lines}\n}}}}\n')
    served = Model(MODEL)
    assert [served.label(text)[0] for text in texts] == list(classifier.predict(texts))


if __name__ == "__main__":
    main()
