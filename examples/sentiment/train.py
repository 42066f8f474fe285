"""Train a sentiment classifier on 10,605 rated sentences from film reviews.

TF-IDF over words and character sequences, then logistic regression, learnt in small batches.
The script knows nothing of mlbroker: job.yaml says how to read the step lines it prints.
"""

import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_union

EPOCHS = int(os.environ.get("EPOCHS", "6"))
BATCH = 256
TEST_SENTENCES = 2000
SEED = 0

# mlbroker sets these two; without it the model lands here, and nothing is saved in between.
CHECKPOINTS = os.environ.get("MLBROKER_CHECKPOINT_DIR")
OUTPUTS = os.environ.get("MLBROKER_OUTPUT_DIR", ".")


def main():
    (train_text, train_label), (test_text, test_label) = split(*load(Path("data/reviews.tsv")))
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True),
    ).fit(train_text)
    test_features = features.transform(test_text)

    first_epoch, classifier = resume()
    steps_per_epoch = -(-len(train_text) // BATCH)
    total = EPOCHS * steps_per_epoch
    for epoch in range(first_epoch, EPOCHS):
        order = np.random.default_rng([SEED, epoch]).permutation(len(train_text))
        for step, start in enumerate(range(0, len(order), BATCH), epoch * steps_per_epoch + 1):
            batch = order[start : start + BATCH]
            classifier.partial_fit(
                features.transform(train_text[batch]), train_label[batch], classes=[False, True]
            )
            print(f"step {step}/{total}", flush=True)
        accuracy = classifier.score(test_features, test_label)
        print(f"epoch {epoch + 1}/{EPOCHS}  accuracy {accuracy:.3f}", flush=True)
        save(epoch + 1, classifier)

    joblib.dump((features, classifier), Path(OUTPUTS, "model.joblib"))
    forget()
    accuracy = classifier.score(test_features, test_label)
    print(f"Test accuracy {accuracy:.3f}; model saved as model.joblib")


def load(path):
    """The sentences, and whether the mean of their ratings (-4 to 4) is positive."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    text = np.array([sentence for _, _, sentence in rows], dtype=object)
    positive = np.array([float(rating) > 0 for _, rating, _ in rows])
    return text, positive


def split(text, label):
    order = np.random.default_rng(SEED).permutation(len(text))
    test, train = order[:TEST_SENTENCES], order[TEST_SENTENCES:]
    return (text[train], label[train]), (text[test], label[test])


def resume():
    """The epoch to go on with, and the classifier as it was then."""
    if CHECKPOINTS and (path := Path(CHECKPOINTS, "classifier.joblib")).exists():
        epoch, classifier = joblib.load(path)
        print(f"Resumed after epoch {epoch}", flush=True)
        return epoch, classifier
    return 0, SGDClassifier(loss="log_loss", alpha=3e-5, average=True, random_state=SEED)


def save(epoch, classifier):
    if CHECKPOINTS:
        path = Path(CHECKPOINTS, "classifier.joblib")
        path.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump((epoch, classifier), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)


def forget():
    """A finished training leaves no checkpoint: the next one starts anew."""
    if CHECKPOINTS:
        Path(CHECKPOINTS, "classifier.joblib").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
