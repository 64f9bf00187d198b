"""`python -m bench.text`: text tools on 10 MB, against plain Python and Keras, with the results compared.

    python -m bench.text [--megabytes 10] [--only adapt] [--keras-python /path/to/python]

Keras's layers for text need TensorFlow: `--keras-python` is an interpreter that has both; without it, they are
left out.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import itertools
import json
import os
import random
import string
import subprocess
import sys
import time

import numpy as np

SYLLABLES = [*(a + b for a in "bdfgklmnprstvz" for b in "aeiou"), "th", "st", "er", "ing", *"éüßñ日本"]
MARKS = [",", ".", ".", "!", "?", ";", ":", " -", "”", " 😀"]
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
COLUMNS = 1000
FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def corpus(megabytes: float) -> list[str]:
    """Texts of 20 to 200 words drawn by Zipf's law from 80000, with capitals, punctuation and letters beyond ASCII,
    small and composed, so that Keras (which lower-cases ASCII alone) sees the same words."""
    rng = random.Random(0)
    drawn = ("".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 2, 3, 3, 4)))) for _ in range(200_000))
    words = list(dict.fromkeys(drawn))[:80_000]
    weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(words))))
    texts, left = [], megabytes * 1e6
    while left > 0:
        row = rng.choices(words, cum_weights=weights, k=rng.randint(20, 200))
        text = " ".join(w.capitalize() if w[0].isascii() and rng.random() < 0.1 else w for w in row)
        pieces = [piece + rng.choice(MARKS) for piece in text.split(" r")]
        texts.append(" r".join(pieces))
        left -= len(texts[-1].encode()) + 1
    return texts


# ---- three ways to do each task: a dict of functions, in their order, that share what went before ------------------


def rows_of(lists, width=None):
    """Lists of numbers as an array, filled up with zeros at the end."""
    result = np.zeros((len(lists), width or max(map(len, lists))), "int64")
    for row, numbers in zip(result, lists):
        row[: len(numbers)] = numbers[: len(row)]
    return result


class Plain:
    """The obvious Python, with the fastest of its built-in parts."""

    def __init__(self, texts):
        self.texts = texts

    def tokens(self, text, n=1):
        words = text.lower().translate(NO_PUNCTUATION).split()
        return words if n == 1 else words + [" ".join(p) for p in zip(words, words[1:])]

    def learn(self, rows, special, limit=None):
        counts = collections.Counter()
        for row in rows:
            counts.update(row)
        return special + sorted(counts, key=lambda t: (counts[t], t), reverse=True)[:limit]

    def adapt(self):
        self.terms = self.learn(map(self.tokens, self.texts), ["", "[UNK]"])
        return self.terms

    def int(self):
        numbers = {term: number for number, term in enumerate(self.terms)}
        return rows_of([[numbers.get(t, 1) for t in self.tokens(text)] for text in self.texts])

    def int_100(self):
        numbers = {term: number for number, term in enumerate(self.terms)}
        return rows_of([[numbers.get(t, 1) for t in self.tokens(text)[:100]] for text in self.texts], 100)

    def bags(self, weights=None, hot=False):
        numbers = {term: number for number, term in enumerate(["[UNK]", *self.terms[2 : COLUMNS + 1]])}
        result = np.zeros((len(self.texts), COLUMNS), "float32")
        for row, text in zip(result, self.texts):
            for number, count in collections.Counter(numbers.get(t, 0) for t in self.tokens(text)).items():
                row[number] = 1 if hot else count
        return result if weights is None else result * weights

    def multi_hot(self):
        return self.bags(hot=True)

    def count(self):
        return self.bags()

    def tf_idf(self):
        documents = collections.Counter()
        for text in self.texts:
            documents.update(set(self.tokens(text)))
        idf = np.log(1 + len(self.texts) / (1 + np.array([documents[t] for t in self.terms[2 : COLUMNS + 1]])))
        return self.bags(np.concatenate([[idf.mean()], idf]).astype("float32"))

    def bigrams(self):
        return self.learn((self.tokens(t, 2) for t in self.texts), ["", "[UNK]"], 50_000)

    def characters(self):
        terms = self.learn((t.lower().translate(NO_PUNCTUATION) for t in self.texts), ["", "[UNK]"])
        numbers = {term: number for number, term in enumerate(terms)}
        return rows_of([[numbers[c] for c in t.lower().translate(NO_PUNCTUATION)] for t in self.texts])

    def fit_on_texts(self):
        """As the Tokenizer of Keras 2."""
        table = str.maketrans(dict.fromkeys(FILTERS, " "))
        counts, documents = {}, collections.defaultdict(int)
        for text in self.texts:
            words = [w for w in text.lower().translate(table).split(" ") if w]
            for word in words:
                counts[word] = counts.get(word, 0) + 1
            for word in set(words):
                documents[word] += 1
        ranked = sorted(counts, key=counts.__getitem__, reverse=True)
        self.index = {word: number for number, word in enumerate(ranked, 1)}
        return list(self.index)

    def texts_to_sequences(self):
        table = str.maketrans(dict.fromkeys(FILTERS, " "))
        self.sequences = [[n for w in text.lower().translate(table).split(" ") if w
                           and (n := self.index.get(w)) is not None] for text in self.texts]
        return self.sequences

    def pad_sequences(self):
        result = np.zeros((len(self.sequences), 100), "int32")
        for row, numbers in zip(result, self.sequences):
            numbers = numbers[-100:]
            row[100 - len(numbers) :] = numbers
        return result


class Layers:
    """The tools of pydl or Keras, which have the same names."""

    def __init__(self, texts, library, text, tensors=None):
        self.texts, self.library, self.text = texts, library, text
        self.given = texts if tensors is None else tensors(texts)

    def layer(self, **kwargs):
        layer = self.library.layers.TextVectorization(**kwargs)
        layer.adapt(self.given)
        return layer

    def adapt(self):
        self.vectorizer = self.layer()
        return self.vectorizer.get_vocabulary()

    def int(self):
        return self.vectorizer(self.given)

    def int_100(self):
        return self.library.layers.TextVectorization(output_sequence_length=100, vocabulary=(
            self.vectorizer.get_vocabulary()))(self.given)

    def bags(self, mode):
        return self.library.layers.TextVectorization(output_mode=mode, vocabulary=(
            self.vectorizer.get_vocabulary(False)[: COLUMNS - 1]))(self.given)

    def multi_hot(self):
        return self.bags("multi_hot")

    def count(self):
        return self.bags("count")

    def tf_idf(self):
        return self.layer(output_mode="tf_idf", max_tokens=COLUMNS)(self.given)

    def bigrams(self):
        return self.layer(ngrams=2, max_tokens=50_002).get_vocabulary()

    def characters(self):
        return self.layer(split="character")(self.given)

    def fit_on_texts(self):
        self.tokenizer = self.text.Tokenizer()
        self.tokenizer.fit_on_texts(self.texts)
        return list(self.tokenizer.word_index)

    def texts_to_sequences(self):
        self.sequences = self.tokenizer.texts_to_sequences(self.texts)
        return self.sequences

    def pad_sequences(self):
        return self.library.utils.pad_sequences(self.sequences, 100)


TASKS = {"adapt": "vocabulary of words", "int": "to numbers, as long as the longest", "int_100": "to 100 numbers each",
         "multi_hot": f"multi_hot, {COLUMNS} columns", "count": f"count, {COLUMNS} columns",
         "tf_idf": f"adapt and tf_idf, {COLUMNS} columns", "bigrams": "vocabulary of words and pairs, 50000",
         "characters": "characters: adapt and numbers", "fit_on_texts": "Tokenizer.fit_on_texts",
         "texts_to_sequences": "Tokenizer.texts_to_sequences", "pad_sequences": "pad_sequences to 100"}
NEEDS = {"int": "adapt", "int_100": "adapt", "multi_hot": "adapt", "count": "adapt", "tf_idf": "adapt",
         "texts_to_sequences": "fit_on_texts", "pad_sequences": "texts_to_sequences"}


def digest(result) -> str:
    """A fingerprint of what a task gave, sums of floats rounded."""
    if isinstance(result, list):
        return hashlib.sha1("\0".join(map(str, result)).encode()).hexdigest()
    array = np.asarray(result)
    if array.dtype.kind == "f" and (array != np.floor(array)).any():
        return ",".join(f"{v:.3e}" for v in (array.sum(dtype="float64"), np.square(array, dtype="float64").sum()))
    return hashlib.sha1(array.astype("int32").tobytes() + repr(array.shape).encode()).hexdigest()


def measure(way, names, seconds) -> dict[str, tuple[float, str]]:
    """The best time and the digest of each task."""
    found: dict[str, tuple[float, str]] = {}
    needed = set(names)
    for name in reversed(TASKS):  # what a task needs stands before it
        if name in needed and name in NEEDS:
            needed.add(NEEDS[name])
    for name in (n for n in TASKS if n in needed):
        times: list[float] = []
        while not times or (name in names and sum(times) < seconds and len(times) < 7):
            start = time.perf_counter()
            result = getattr(way, name)()
            times.append(time.perf_counter() - start)
        found[name] = min(times), digest(result)
        del result
    return found


def keras_way(texts):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf
    from keras.src.legacy.preprocessing import text

    return Layers(texts, keras, text, tf.constant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--only", action="append", choices=TASKS, help="one task; may be repeated")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long to repeat a task")
    parser.add_argument("--keras-python", help="interpreter that has Keras and TensorFlow")
    parser.add_argument("--as-keras", action="store_true", help="measure Keras in this interpreter and print JSON")
    args = parser.parse_args()
    names, texts = args.only or list(TASKS), corpus(args.megabytes)
    if args.as_keras:
        print(json.dumps(measure(keras_way(texts), names, args.seconds)))
        return
    import pydl
    from pydl.preprocessing import text

    found = {"pydl": measure(Layers(texts, pydl, text), names, args.seconds),
             "Python": measure(Plain(texts), names, args.seconds)}
    if args.keras_python:
        command = [args.keras_python, __file__, "--as-keras", "--megabytes", str(args.megabytes),
                   "--seconds", str(args.seconds), *itertools.chain.from_iterable(("--only", n) for n in names)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "KERAS_BACKEND": "tensorflow"}).stdout
        found["Keras"] = json.loads(output.splitlines()[-1])
    size = sum(len(t.encode()) for t in texts)
    print(f"{len(texts)} texts, {size / 1e6:.1f} MB; best times, in parentheses over pydl's")
    print("| task | " + " | ".join(found) + " |\n|" + "---|" * (len(found) + 1))
    for name in names:
        ours, fingerprint = found["pydl"][name]
        cells = [f"{ours * 1e3:.0f} ms"]
        for peer in list(found)[1:]:
            seconds, other = found[peer][name]
            assert other == fingerprint, f"{name}: {peer} has another result"
            cells.append(f"{seconds * 1e3:.0f} ms ({seconds / ours:.1f})")
        print(f"| {TASKS[name]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
