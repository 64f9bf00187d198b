"""Text tools: vocabularies, tokenisation, Unicode, stable hashes, the classic Tokenizer."""

import collections
import copy
import itertools
import json
import pickle
import random
import re
import string
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import pytest

import pydl
from harness import PYDL_FOLDER
from pydl import _text
from pydl.data.dataset import Dataset
from pydl.layers import Discretization, Hashing, IntegerLookup, StringLookup, TextVectorization
from pydl.preprocessing.text import (
    Tokenizer,
    hashing_trick,
    one_hot,
    text_to_word_sequence,
    tokenizer_from_json,
)

TEXTS = ["foo bar", "bar baz", "baz bada boom"]


def adapted(texts=TEXTS, **kwargs):
    layer = TextVectorization(**kwargs)
    layer.adapt(texts)
    return layer


def words_of(text, **kwargs):
    return set(adapted([text], **kwargs).get_vocabulary(include_special_tokens=False))


def test_text_vectorization_as_documented_by_keras():
    layer = adapted()
    assert layer.get_vocabulary() == ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]
    expected = [[4, 1, 3], [1, 2, 0]]
    for given in ([["foo qux bar"], ["qux baz"]], ["foo qux bar", "qux baz"], [b"foo qux bar", b"qux baz"],
                  np.array(["foo qux bar", "qux baz"]), np.array([["foo qux bar"], ["qux baz"]], object),
                  np.array([b"foo qux bar", b"qux baz"])):
        result = layer(given)
        assert result.dtype == "int64"
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(layer("foo baz"), [4, 2])
    short = TextVectorization(vocabulary=["a", "b"], output_sequence_length=2)
    np.testing.assert_array_equal(short(["a b a", "", "b"]), [[2, 3], [0, 0], [3, 0]])


@pytest.mark.parametrize("given", [Dataset(lambda: iter([np.array(TEXTS[:2], object), np.array(TEXTS[2:], object)])),
                                   np.array(TEXTS), [[t] for t in TEXTS]])
def test_what_adapt_takes(given):
    assert adapted(given).get_vocabulary() == adapted().get_vocabulary()


@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf"])
def test_counts_of_ngrams_against_plain_python(mode):
    layer = adapted(output_mode=mode, ngrams=2)
    terms = layer.get_vocabulary()

    def grams(text):
        words = text.split()
        return words + [" ".join(p) for p in zip(words, words[1:])]

    want = np.zeros((2, len(terms)))
    for row, text in enumerate(["foo bar bar", "boom qux"]):
        for gram in grams(text):
            want[row, terms.index(gram) if gram in terms else 0] += 1
    if mode == "multi_hot":
        want = np.minimum(want, 1)
    if mode == "tf_idf":
        documents = np.array([sum(t in grams(text) for text in TEXTS) for t in terms[1:]])
        idf = np.log(1 + 3 / (1 + documents))
        want *= np.concatenate([[idf.mean()], idf])
    np.testing.assert_allclose(layer(["foo bar bar", "boom qux"]), want, rtol=1e-6)


def test_random_texts_against_a_regular_expression():
    random = np.random.default_rng(0)
    letters = list("abcXYZ ,.-'\t\n\0é") + ["ß", "日", "😀"]
    texts = ["".join(random.choice(letters, 60)) for _ in range(200)]
    layer = adapted(texts)
    terms = layer.get_vocabulary()
    for text, row in zip(texts, layer(texts).numpy()):
        words = re.sub(r"[ \t\n\v\f\r]+", " ", re.sub(r"[!-/:-@\[-`{-~]", "", text.lower())).strip(" ").split(" ")
        assert [terms[i] for i in row if i] == [w for w in words if w]
    assert len(terms) == len(set(terms))


def test_unicode():
    assert words_of("Éa e\u0301A") == {"éa"}  # composed and decomposed are one word
    assert words_of("Straße STRASSE ẞ") == {"straße", "strasse", "ß"}
    assert words_of("I ı İ") == {"i", "ı", "i\u0307"}  # no language is assumed
    assert words_of("e\u0301", standardize=None) == {"e\u0301"}
    assert words_of("👩\u200d👧 a\u0300", split="character", standardize=None) == {"👩", "\u200d", "👧", " ", "a",
                                                                                 "\u0300"}
    assert words_of("a\u00a0b") == {"a\u00a0b"}  # white space is that of ASCII, as in Keras
    assert unicodedata.is_normalized("NFC", next(iter(words_of("o\u0308", standardize="strip_punctuation"))))


def test_odd_texts():
    long = "x" * 300_000
    layer = adapted(["a\0b", "", long, "...", b"caf\xff x"])
    assert set(layer.get_vocabulary()[2:]) == {"a\0b", long, "caf\ufffd", "x"}
    assert layer(["", "  "]).shape == (2, 0)
    assert words_of("\ud800") == {"\ud800"}
    assert words_of("né".encode("latin-1"), encoding="latin-1") == {"né"}
    with pytest.raises(TypeError, match="None at position 1"):
        layer(["a", None])
    with pytest.raises(TypeError, match="reads strings and received numbers"):
        layer(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"\(batch, 1\)"):
        layer(np.array([["a", "b"]]))


def test_functions_of_the_user():
    layer = adapted(["A_b", "b_C"], standardize=np.char.lower, split=lambda texts: [t.split("_") for t in texts])
    assert layer.get_vocabulary() == ["", "[UNK]", "b", "c", "a"]
    np.testing.assert_array_equal(layer(["a_z_b"]), [[4, 1, 2]])
    whole = adapted(["new york", "rome"], split=None)
    np.testing.assert_array_equal(whole([["rome"], ["New York!"], ["x y"]]), [[2], [3], [1]])
    swapped = adapted(["a b"], standardize=lambda t: np.char.replace(t, "a", "c"))
    assert set(swapped.get_vocabulary()[2:]) == {"b", "c"}


def test_saving_and_copies(tmp_path):
    layer = adapted(ngrams=(1, 2), output_mode="tf_idf")
    for twin in (TextVectorization.from_config(layer.get_config()), copy.deepcopy(layer),
                 pickle.loads(pickle.dumps(layer)), pydl.layers.deserialize(pydl.layers.serialize(layer))):
        assert twin.get_vocabulary() == layer.get_vocabulary()
        np.testing.assert_array_equal(twin(TEXTS), layer(TEXTS))
    ids = IntegerLookup(output_mode="count")
    ids.adapt([[5, 5], [3, 5]])
    model = pydl.Sequential([pydl.Input((4,), dtype="int64"), ids, pydl.layers.Dense(2)])
    x = np.array([[5, 3, 9, 9], [3, 3, 5, 0]])
    want = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(pydl.models.load_model(tmp_path / "model.keras").predict(x, verbose=0), want)


def test_in_a_pipeline():
    layer = adapted(output_sequence_length=3)
    data = Dataset(lambda: iter([(np.array(TEXTS, object), np.array([0, 1, 1]))])).map(lambda x, y: (layer(x), y))
    model = pydl.Sequential([pydl.layers.Embedding(layer.vocabulary_size(), 4), pydl.layers.Flatten(),
                             pydl.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(data, verbose=0)
    with pytest.raises(ValueError, match="hold strings; expected numbers. First element: 'foo bar'"):
        model.predict(np.array(TEXTS), verbose=0)


def test_errors():
    with pytest.raises(RuntimeError, match="no vocabulary yet"):
        TextVectorization()(["a"])
    with pytest.raises(ValueError, match=r"repeated terms: \['a'\]"):
        TextVectorization(vocabulary=["a", "b", "a"])
    with pytest.raises(ValueError, match="2 terms and cannot adapt"):
        TextVectorization(vocabulary=["a", "b"]).adapt(["c"])
    with pytest.raises(ValueError, match="max_tokens=3"):
        TextVectorization(vocabulary=["a", "b"], max_tokens=3)
    with pytest.raises(ValueError, match="no data"):
        TextVectorization().adapt(iter(()))
    layer = adapted()
    layer.adapt(["other words"])  # a second time: everything anew
    assert layer.get_vocabulary()[2:] == ["words", "other"]
    fixed = adapted(output_mode="count")
    with pytest.raises(RuntimeError, match="was 6, the new one is 2"):
        fixed.adapt(["one"])
    for wrong in ({"standardize": "upper"}, {"split": "lines"}, {"ngrams": 0}, {"output_mode": "one"},
                  {"output_sequence_length": 3, "output_mode": "count"}, {"ragged": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TextVectorization(**wrong)


def test_string_lookup():
    layer = StringLookup(vocabulary=["a", "b"], mask_token="")
    np.testing.assert_array_equal(layer([["a", "zz"], ["", "b"]]), [[2, 1], [0, 3]])
    back = StringLookup(vocabulary=layer.get_vocabulary(), mask_token="", invert=True)
    assert back(layer([["a", "zz"], ["", "b"]])).tolist() == [["a", "[UNK]"], ["", "b"]]
    hot = StringLookup(vocabulary=["a", "b"], mask_token="", output_mode="one_hot")
    np.testing.assert_array_equal(hot(["a", "", "z"]), [[0, 1, 0], [0, 0, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"\['z'\]"):
        StringLookup(vocabulary=["a"], num_oov_indices=0)(["a", "z"])
    layer = StringLookup(max_tokens=3)
    layer.adapt([["b", "a"], ["c", "b"]])
    assert layer.get_vocabulary() == ["[UNK]", "b", "c"]


def test_integer_lookup():
    data = np.array([[12, 1138, 42], [42, 1000, 36]])
    layer = IntegerLookup()
    layer.adapt(data)
    assert layer.get_vocabulary() == [-1, 42, 1138, 1000, 36, 12]
    np.testing.assert_array_equal(layer(data), [[5, 2, 1], [1, 3, 4]])
    back = IntegerLookup(vocabulary=layer.get_vocabulary(), invert=True)
    np.testing.assert_array_equal(back(np.array([[1, 0], [5, 99]])), [[42, -1], [12, -1]])
    two = IntegerLookup(vocabulary=[12, 36, 1138, 42], num_oov_indices=2)
    np.testing.assert_array_equal(two(np.array([[12, 1138, 42], [37, 1000, 36]])), [[2, 4, 5], [1, 0, 3]])
    farm = IntegerLookup(vocabulary=[10, 20, 30], num_oov_indices=4, oov_method="farmhash")
    np.testing.assert_array_equal(farm(np.array([100, 300, 700, 1100, 1700, 2000])), [3, 3, 2, 2, 0, 1])
    with pytest.raises(ValueError, match=r"\[9\]"):
        IntegerLookup(vocabulary=[1], num_oov_indices=0)(np.array([1, 9]))
    with pytest.raises(TypeError, match="1.5"):
        IntegerLookup().adapt([1.5])


def test_hashing_gives_the_bins_keras_documents():
    letters = [["A"], ["B"], ["C"], ["D"], ["E"]]
    for salt, bins in ((None, [1, 0, 1, 1, 2]), ((133, 137), [1, 2, 1, 0, 2]), (133, [0, 0, 2, 1, 0])):
        np.testing.assert_array_equal(Hashing(3, salt=salt)(letters), np.array(bins)[:, None])
    masked = Hashing(3, mask_value="")([["A"], ["B"], [""], ["C"], ["D"]])
    np.testing.assert_array_equal(masked, [[1], [1], [0], [2], [2]])
    assert Hashing(7, output_mode="count")([["a", "b", "a"]]).numpy().sum() == 3
    np.testing.assert_array_equal(Hashing(9)(np.array([5, 17])), Hashing(9)(["5", "17"]))


def test_discretization_adapts():
    layer = Discretization(num_bins=4, epsilon=0.001)
    layer.adapt(np.random.default_rng(0).uniform(0, 1, 20_000))
    np.testing.assert_allclose(layer.bin_boundaries, [0.25, 0.5, 0.75], atol=0.01)
    assert Discretization.from_config(layer.get_config()).bin_boundaries == layer.bin_boundaries
    with pytest.raises(ValueError, match="cannot adapt"):
        Discretization(bin_boundaries=[1.0]).adapt([1.0])
    with pytest.raises(ValueError, match="no boundaries"):
        Discretization(num_bins=3)(np.zeros(2))


def test_tokenizer():
    texts = ["The cat sat on the mat.", "The dog ate my homework; the Cat\tdid not!", "Äpfel äpfel"]
    plain, slow = Tokenizer(oov_token="<oov>"), Tokenizer(oov_token="<oov>", analyzer=text_to_word_sequence)
    for tokenizer in (plain, slow):
        tokenizer.fit_on_texts(texts)
    for name in ("word_counts", "word_docs", "word_index", "index_word", "index_docs", "document_count"):
        assert getattr(plain, name) == getattr(slow, name)
    assert list(plain.word_index)[:4] == ["<oov>", "the", "cat", "äpfel"]
    assert plain.texts_to_sequences(["the new cat", ""]) == slow.texts_to_sequences(["the new cat", ""]) == [
        [2, 1, 3], []]
    assert plain.sequences_to_texts([[2, 3, 99]]) == ["the cat <oov>"]
    assert plain.texts_to_sequences([["The", "x"]]) == [[2, 1]]
    for mode in ("binary", "count", "freq", "tfidf"):
        assert plain.texts_to_matrix(texts, mode).shape == (3, len(plain.word_index) + 1)
    again = tokenizer_from_json(plain.to_json())
    assert again.word_index == plain.word_index and again.texts_to_sequences(texts) == plain.texts_to_sequences(texts)
    few = Tokenizer(num_words=2, char_level=True)
    few.fit_on_texts(["aab"])
    assert few.texts_to_sequences(["aabz"]) == [[1, 1]]
    with pytest.raises(ValueError, match="median"):
        plain.texts_to_matrix(texts, "median")


def test_hashing_trick():
    assert hashing_trick("A b, a", 50, "md5") == hashing_trick("a B a", 50, "md5")
    assert all(1 <= n < 9 for n in one_hot("some words here", 9))
    with pytest.raises(ValueError, match="received 1"):
        hashing_trick("a", 1)


def test_numbers_do_not_depend_on_the_run():
    code = "from pydl.layers import Hashing; print(Hashing(1000)(['x', 'yy', 'z' * 99]).numpy().tolist())"
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           cwd=PYDL_FOLDER).stdout for _ in range(2)}
    assert len(runs) == 1


def python_tokens(text, lower, strip, compose, characters):
    text = text.lower() if lower else text
    text = unicodedata.normalize("NFC", text) if compose else text
    text = text.translate(str.maketrans("", "", string.punctuation)) if strip else text
    return list(text) if characters else [w for w in re.split(r"[ \t\n\v\f\r]+", text) if w]


def tokens_of(splitter, text):
    words = _text.Words()
    splitter.count([text], words)
    return splitter.lists(text, words, words.words())


@pytest.mark.parametrize("lower, strip, compose, characters", list(itertools.product((False, True), repeat=4)))
def test_characters_of_all_kinds_against_python(lower, strip, compose, characters):
    random_ = random.Random(1)
    kinds = [*map(chr, (*range(0x250), *range(0x300, 0x600), *range(0x900, 0xA00), *range(0x1100, 0x1200),
                        *range(0xAC00, 0xAC40), *range(0x1E00, 0x2200), *range(0x1F600, 0x1F620)))]
    kinds += [chr(random_.randrange(0x110000)) for _ in range(500)]
    kinds += 60 * list("ΣσςİIıẞÅ\u0300\u030a\u0338\u0345 \t\n\r'.,:-=<>\u1100\u1161\u11a8")
    splitter = _text.Splitter("" if characters else " \t\n\v\f\r", string.punctuation if strip else "", lower, compose,
                              characters)
    for turn in range(400):
        text = "".join(random_.choices(kinds if turn % 3 else "aΣσ'. \u0301\u0345AİÅ\u030a\u1100\u1161\u11a8",
                                       k=random_.randrange(40)))
        if turn % 5 == 0:
            text = "".join(c for c in text if ord(c) < 256)
        assert tokens_of(splitter, text) == python_tokens(text, lower, strip, compose, characters), repr(text)


def test_every_character_against_python():
    splitter = _text.Splitter(" \t\n\v\f\r", string.punctuation, True, True)
    for start in range(0, 0x110000, 997):  # each in one of many texts
        text = " ".join(f"a{chr(c)}é {chr(c)}" for c in range(start, min(start + 997, 0x110000), 7))
        assert tokens_of(splitter, text) == python_tokens(text, True, True, True, False), hex(start)


@pytest.mark.parametrize("filters", ["!\"#.\t\n", "a'.é ", "", "Σσς"])
@pytest.mark.parametrize("split", [" ", "b", "é", "\u0301"])
def test_tokenizer_with_separators_beyond_ascii(filters, split):
    random_ = random.Random(2)
    texts = ["".join(random_.choices("aΣσ'. bcé\u0301\u0345AİÅ\t!", k=12)) for _ in range(200)]
    tokenizer, slow = (Tokenizer(filters=filters, split=split, analyzer=analyzer) for analyzer in (
        None, lambda text: text_to_word_sequence(text, filters, True, split)))
    for one in (tokenizer, slow):
        one.fit_on_texts(texts)
    assert tokenizer.word_counts == slow.word_counts and tokenizer.word_docs == slow.word_docs
    assert tokenizer.texts_to_sequences(texts) == slow.texts_to_sequences(texts)


def test_tables_that_grow():
    random_ = random.Random(3)
    words = ["".join(random_.choices("abcé", k=random_.randrange(1, 30))) for _ in range(30_000)]
    texts = [" ".join(words[i : i + 300]) for i in range(0, len(words), 300)]
    counts = collections.Counter(words)
    layer = adapted(texts, max_tokens=5000)
    assert layer.get_vocabulary(False) == sorted(counts, key=lambda t: (counts[t], t), reverse=True)[:4998]
    numbers = {term: number for number, term in enumerate(layer.get_vocabulary())}
    np.testing.assert_array_equal(layer(texts), [[numbers.get(w, 1) for w in text.split()] for text in texts])


def test_one_text_without_batch():
    layer = adapted(output_mode="count")
    assert layer("bar bar qux").numpy().tolist() == [1, 0, 2, 0, 0, 0]
    np.testing.assert_array_equal(adapted(output_sequence_length=3)("bar bar"), [3, 3, 0])
    whole = adapted(split=None)
    assert whole("bar baz").numpy().tolist() == whole(["bar baz"]).numpy()[0]
    assert whole(["bar baz", "..."]).shape == (2,)  # without splitting the last axis is that of the tokens
    assert whole([[["bar baz", "x"]]]).shape == (1, 1, 2)
    assert adapted(split=None, ngrams=2).get_vocabulary(False) == ["foo bar", "baz bada boom", "bar baz"]


def test_functions_of_the_user_get_long_texts_in_parts(monkeypatch):
    monkeypatch.setattr("pydl.layers.text._PART", 50)
    seen = []

    def lower(texts):
        seen.append(texts.size * texts.dtype.itemsize)
        return np.char.lower(texts)

    layer = adapted(["A b"] * 9 + ["C " * 12], standardize=lower, split=lambda texts: [t.split() for t in texts])
    assert layer.get_vocabulary(False) == ["c", "b", "a"] and max(seen) <= 4 * 50
    np.testing.assert_array_equal(layer(["A c"] * 20), [[4, 2]] * 20)
    assert adapted(["A b"] * 30, standardize=lower).get_vocabulary(False) == ["b", "a"]


def test_models_that_take_strings():
    texts, y = np.array(["a b", "b c c", "c", "a a"] * 4, object)[:, None], np.arange(16.0) % 2
    layer = TextVectorization(vocabulary=["a", "b", "c"])
    model = pydl.Sequential([pydl.Input((1,), dtype="string"), layer, pydl.layers.Embedding(5, 3, mask_zero=True),
                             pydl.layers.GlobalAveragePooling1D(), pydl.layers.Dense(1)])
    assert layer.output.shape == (None, None) and layer.output.dtype == "int64"
    model.compile("sgd", "mse")

    def rest(x):
        for other in model.layers[1:]:
            x = other(x)
        return x

    for given in (texts, texts[:, 0], texts.astype(str), texts.astype(str)[:, 0]):
        want = np.concatenate([rest(layer(texts[i : i + 3])).numpy() for i in range(0, 16, 3)])
        np.testing.assert_allclose(model.predict(given, batch_size=3, verbose=0), want, rtol=1e-6)
    np.testing.assert_allclose(model(texts), rest(layer(texts)), rtol=1e-6)
    before = model.get_weights()
    model.fit(texts, y, epochs=2, batch_size=5, validation_split=0.25, verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))
    batch_loss = model.test_on_batch(texts, y)
    np.testing.assert_allclose(model.evaluate(texts, y, batch_size=16, verbose=0), batch_loss, rtol=1e-6)
    model.fit(Dataset(lambda: iter([(texts, y)])), verbose=0)
    free = pydl.Sequential([layer, pydl.layers.Embedding(5, 3), pydl.layers.GlobalAveragePooling1D()])
    assert free.predict(texts, verbose=0).shape == (16, 3)
    with pytest.raises(ValueError, match="holds strings; received numbers"):
        model.predict(np.zeros((3, 1)), verbose=0)
    with pytest.raises(TypeError, match="given to something that takes numbers"):
        pydl.layers.Dense(2)(pydl.Input((1,), dtype="string"))
    with pytest.raises(TypeError, match="reads strings here; received a symbolic tensor of dtype float32"):
        layer(pydl.Input((1,)))


def test_models_with_strings_beside_numbers():
    words, number, ids = (pydl.Input((2,), dtype="string", name="words"), pydl.Input((1,), name="number"),
                          pydl.Input((2,), dtype="int64", name="ids"))
    hashed = Hashing(4, output_mode="count")(words)
    known = StringLookup(vocabulary=["a"], output_mode="multi_hot")(words)
    strict = IntegerLookup(vocabulary=[7, 8], num_oov_indices=0, output_mode="count")(ids)
    joined = pydl.layers.Concatenate()([hashed, known, strict, number])
    model = pydl.Model([words, number, ids], [pydl.layers.Dense(1)(joined), joined])
    data = {"words": np.array([["a", "b"], ["a", "a"], ["x", "y"]]), "number": np.array([[1.0], [2.0], [3.0]]),
            "ids": np.array([[7, 8], [8, 8], [7, 7]])}
    joined = model.predict(data, verbose=0)[1]
    np.testing.assert_array_equal(joined[:, 4:], [[1, 1, 1, 1, 1], [0, 1, 0, 2, 2], [1, 0, 2, 0, 3]])
    np.testing.assert_array_equal(joined[:, :4], Hashing(4, output_mode="count")(data["words"]))
    twin = pydl.models.clone_model(model)
    np.testing.assert_array_equal(twin.predict(list(data.values()), verbose=0)[1], joined)
    with pytest.raises(ValueError, match=r"received \[9, 9, 9\]"):
        model.predict({**data, "ids": data["ids"] + 1}, verbose=0)
    back = pydl.Input((2,), dtype="int64")
    names = pydl.Model(back, StringLookup(vocabulary=["a"], invert=True)(back))
    assert names.predict(np.array([[0, 1]]), verbose=0).tolist() == [["[UNK]", "a"]]


def test_files_of_keras_with_a_learned_vocabulary(tmp_path):
    layer = adapted(output_mode="tf_idf", max_tokens=9)
    model = pydl.Sequential([pydl.Input((1,), dtype="string"), layer, pydl.layers.Dense(2)])
    texts = np.array(TEXTS, object)[:, None]
    want = model.predict(texts, verbose=0)
    model.save(tmp_path / "ours.keras")
    np.testing.assert_array_equal(pydl.models.load_model(tmp_path / "ours.keras").predict(texts, verbose=0), want)
    # As Keras writes it: no vocabulary in the configuration, but a file beside the weights.
    with zipfile.ZipFile(tmp_path / "ours.keras") as source, zipfile.ZipFile(tmp_path / "keras.keras", "w") as target:
        config = json.loads(source.read("config.json"))
        own = config["config"]["layers"][1]["config"]
        own.update(vocabulary=None, idf_weights=None, vocabulary_size=layer.vocabulary_size())
        del own["has_input_vocabulary"]
        target.writestr("config.json", json.dumps(config))
        target.writestr("model.weights.h5", source.read("model.weights.h5"))
        layer.save_assets(tmp_path)
        for folder in ("", "_lookup_layer/"):
            target.write(tmp_path / "vocabulary.txt", f"assets/layers/text_vectorization/{folder}vocabulary.txt")
    loaded = pydl.models.load_model(tmp_path / "keras.keras")
    np.testing.assert_allclose(loaded.predict(texts, verbose=0), want, rtol=1e-6)
    loaded.layers[0].adapt(["new words and two more words"])  # it was learned, and may learn again
    with pytest.raises(ValueError, match="names the vocabulary file '/etc/passwd'"):
        StringLookup.from_config({"vocabulary": "/etc/passwd"})


def test_files_of_terms(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("a\nb\r\né", encoding="utf-8", newline="")
    assert TextVectorization(vocabulary=str(path)).get_vocabulary() == ["", "[UNK]", "a", "b", "é"]
    with pytest.raises(ValueError, match="no vocabulary file"):
        TextVectorization(vocabulary=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="not a file"):
        TextVectorization(vocabulary=str(path), output_mode="tf_idf", idf_weights=[1.0, 2.0, 3.0])


def test_rows_of_numbers():
    lists = [[1, 2, 3], [], [2**40, -5]]
    assert pydl.utils.pad_sequences(lists, 2, dtype="int64").tolist() == [[2, 3], [0, 0], [2**40, -5]]
    assert pydl.utils.pad_sequences(lists, 4, "float64", "post", "post", 0.5).tolist() == [
        [1, 2, 3, 0.5], [0.5] * 4, [2.0**40, -5, 0.5, 0.5]]
    with pytest.raises(OverflowError):
        pydl.utils.pad_sequences(lists)
    assert pydl.utils.pad_sequences([[True, 1.5], (2,)]).tolist() == [[1, 1], [0, 2]]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_vocabulary_file_with_a_byte_order_mark(tmp_path, line_end):
    """Editors of Windows begin UTF-8 files with one; it is no letter of the first term."""
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(b"\xef\xbb\xbf" + line_end.join(["the", "cat", "\u00e9t\u00e9", ""]).encode())
    for layer in (StringLookup(vocabulary=str(path)), TextVectorization(vocabulary=str(path))):
        assert layer.get_vocabulary()[-3:] == ["the", "cat", "\u00e9t\u00e9"]
    layer = StringLookup()
    layer.set_vocabulary(str(path))
    assert np.asarray(layer(["the", "\ufeffthe"])).tolist() == [1, 0]
