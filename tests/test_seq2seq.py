"""Seq2Seq: bridges, teacher forcing, scheduled sampling, greedy and beam search, files; and the same by Keras's
functional API alone."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import pydl
from pydl import layers, ops
from pydl.models import Seq2Seq, _generation

V = 5  # tokens: padding, start, end, two letters
START, END = 1, 2


def encoder(kind="gru"):
    return {
        "gru": lambda: layers.GRU(6, return_sequences=True, return_state=True),
        "lstm": lambda: layers.LSTM(6, return_sequences=True, return_state=True),
        "both": lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True, return_state=True)),
        "stack": lambda: [layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                          layers.LSTM(6, return_sequences=True, return_state=True)],
        "stateless": lambda: layers.GRU(6, return_sequences=True),
    }[kind]()


def decoder(kind="bahdanau"):
    return {
        "bahdanau": lambda: layers.BahdanauDecoder(6), "bahdanau_lstm": lambda: layers.BahdanauDecoder(6, cell="lstm"),
        "luong": lambda: layers.LuongDecoder(6), "feeding": lambda: layers.LuongDecoder(6, input_feeding=True),
        "local": lambda: layers.LuongDecoder(6, score_mode="general", alignment="local-p", window=2),
        "local_m": lambda: layers.LuongDecoder(6, alignment="local-m", window=1),
        "gru": lambda: layers.GRU(6, return_sequences=True), "lstm": lambda: layers.LSTM(6, return_sequences=True),
        "stack": lambda: [layers.GRU(5, return_sequences=True), layers.LuongDecoder(6)],
    }[kind]()


def model(enc="gru", dec="bahdanau", seed=0, scale=3.0, **options):
    """A model with weights large enough for the best token to depend on what came before."""
    pydl.utils.set_random_seed(seed)
    m = Seq2Seq(encoder(enc), decoder(dec), 9, V, embedding=4, **options)
    m([SOURCE, np.ones((len(SOURCE), 1), "int32")])
    m.set_weights([w * scale if w.ndim else w for w in m.get_weights()])
    return m


SOURCE = np.array([[3, 4, 5, 6], [7, 8, 0, 0], [4, 0, 0, 0], [8, 3, 3, 5], [5, 5, 7, 0]], "int32")
PAIRS = [("gru", "bahdanau"), ("lstm", "bahdanau_lstm"), ("both", "luong"), ("gru", "feeding"), ("stack", "local"),
         ("gru", "local_m"), ("lstm", "lstm"), ("stack", "gru"), ("stateless", "bahdanau"), ("both", "stack")]


def log_probabilities(m, source, prefix):
    """log p of every next token, by a call of the model on the whole prefix: no step of a decoder, no cache."""
    logits = np.asarray(m([source[None], np.array([[START, *prefix]], "int32")]).data[0, -1], "float64")
    if m.mask_zero:
        logits[0] = -np.inf
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def lp(length, penalty):
    return ((5 + length) / 6) ** penalty


def reference_beam(m, source, length, width, penalty):
    """Beam search by calls on whole prefixes: (tokens, score), best first."""
    beam = [((), 0.0)]
    for _ in range(length):
        grown = []
        for tokens, total in beam:
            if tokens[-1:] == (END,):
                grown.append((tokens, total))
                continue
            gains = log_probabilities(m, source, tokens)
            grown += [((*tokens, t), total + gains[t]) for t in range(V) if gains[t] > -np.inf]
        beam = sorted(grown, key=lambda h: -h[1] / lp(len(h[0]), penalty))[:width]
    return [(tokens, total / lp(len(tokens), penalty)) for tokens, total in beam]


def padded(tokens, length):
    return [*tokens, *[0] * (length - len(tokens))]


@pytest.mark.parametrize("enc, dec, width, penalty", [
    *((*pair, 1, penalty) for pair in PAIRS for penalty in (0.0, 1.0)),
    *((*pair, width, penalty) for pair in PAIRS[:4] for width, penalty in ((2, 0.0), (3, 0.7), (4, 1.5)))])
def test_search_equals_search_by_whole_prefixes(enc, dec, width, penalty):
    """Tokens, scores, order; recorded steps with states in place against calls on prefixes, each source by itself."""
    m = model(enc, dec, seed=3)
    tokens, scores = m.generate(SOURCE, 5, beam_width=width, length_penalty=penalty, n_best=width, return_scores=True,
                                batch_size=2)  # the last batch is not full
    tokens, scores = tokens.reshape(len(SOURCE), width, 5), scores.reshape(len(SOURCE), width)
    for i, source in enumerate(SOURCE):
        want = reference_beam(m, source, 5, width, penalty)
        np.testing.assert_array_equal(tokens[i], [padded(t, 5) for t, _ in want])
        np.testing.assert_allclose(scores[i], [s for _, s in want], rtol=1e-4, atol=1e-4)


def test_a_beam_of_one_is_greedy(monkeypatch):
    m = model(seed=5)
    greedy = m.generate(SOURCE, 7, return_scores=True, return_attention=True)
    assert len({tuple(row) for row in greedy[0]}) > 1  # the sources matter

    def by_beam(self, logits, here, weights):
        # The rows a beam of one picks are the rows themselves, so the states are those of the greedy step.
        self._take_beam(logits, here, weights, self.state)

    monkeypatch.setattr(_generation.Writer, "_take_best", by_beam)
    m._writers.clear()
    for a, b in zip(m.generate(SOURCE, 7, return_scores=True, return_attention=True), greedy):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_the_space_is_exhaustive(penalty):
    m = model(seed=7)
    space = [t for n in (1, 2, 3) for t in itertools.product(range(1, V), repeat=n)
             if END not in t[:-1] and (t[-1] == END or n == 3)]
    tokens, scores = m.generate(SOURCE[:2], 3, beam_width=len(space), n_best=len(space), length_penalty=penalty,
                                return_scores=True)
    for i in range(2):
        total = {t: sum(log_probabilities(m, SOURCE[i], t[:k])[t[k]] for k in range(len(t))) / lp(len(t), penalty)
                 for t in space}
        order = sorted(space, key=lambda t: -total[t])
        np.testing.assert_array_equal(tokens[i], [padded(t, 3) for t in order])
        np.testing.assert_allclose(scores[i], [total[t] for t in order], rtol=1e-4, atol=1e-4)
        assert np.isclose(np.exp([s * lp(len(t), penalty) for s, t in zip(scores[i], order)]).sum(), 1, rtol=1e-3)


def test_end_and_attention():
    m = model(seed=3)
    tokens, weights = m.generate(SOURCE, 9, return_attention=True)
    endless = m.generate(SOURCE, 9, end_token=None)
    for row, free, w, source in zip(tokens, endless, weights, SOURCE):
        length = list(row).index(END) + 1 if END in row else 9
        np.testing.assert_array_equal(row[:length], free[:length])
        assert (row[length:] == 0).all() and (w[length:] == 0).all() and (w[:, source == 0] == 0).all()
        np.testing.assert_allclose(w[:length].sum(-1), 1, rtol=1e-5)
    assert (tokens == END).any() and m.generate(SOURCE, 9, pad_token=4)[tokens == 0].tolist().count(4) > 0
    beam, history = m.generate(SOURCE, 9, beam_width=3, n_best=2, return_attention=True)
    assert beam.shape == (5, 2, 9) and history.shape == (5, 2, 9, 4)
    for row, w, source in zip(beam[:, 1], history[:, 1], SOURCE):  # the weights went along with their hypothesis
        target = np.array([[START, *row[:-1]]], "int32")
        length = list(row).index(END) + 1 if END in row else 9
        memory, mask, states = m.encode(ops.convert_to_tensor(source[None]))
        m.decoder.return_attention_scores = True
        want = m.decoder(m.target_embedding(target), memory, initial_state=states, memory_mask=mask)[1].data[0]
        m.decoder.return_attention_scores = False
        np.testing.assert_allclose(w[:length], want[:length], rtol=1e-4, atol=1e-5)


def pairs(rows, seed=0):
    """Letters 3, 4 and their reversal, of length 1 to 4."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 5, rows)
    source, target = np.zeros((rows, 4), "int32"), np.zeros((rows, 5), "int32")
    for i, n in enumerate(lengths):
        source[i, :n] = rng.integers(3, 5, n)
        target[i, :n], target[i, n] = source[i, :n][::-1], END
    target_in = np.concatenate([np.full((rows, 1), START), target[:, :-1]], 1).astype("int32")
    return source, np.where(target_in == END, 0, target_in), target


def compiled(m, rate=0.02):
    m.compile(pydl.optimizers.Adam(rate), pydl.losses.SparseCategoricalCrossentropy(from_logits=True))
    return m


def test_fit_save_load_copy(tmp_path):
    """It learns, with padding left out of the loss; files and copies write the same."""
    source, target_in, target = pairs(512)
    pydl.utils.set_random_seed(1)
    m = compiled(Seq2Seq(encoder("both"), layers.LuongDecoder(16, score_mode="general"), 5, V, embedding=8))
    before = m.generate(source[:5], 5)
    assert before.shape == (5, 5)
    m.fit([source, target_in], target, epochs=15, batch_size=32, verbose=0)
    found = m.generate(source, 5)
    assert (found == target).all(1).mean() > 0.95
    m.save(tmp_path / "m.keras")
    for twin in (pydl.models.load_model(tmp_path / "m.keras"), copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        np.testing.assert_array_equal(twin.generate(source, 5), found)
        twin.fit([source, target_in], target, verbose=0)
    np.testing.assert_array_equal(m.generate(source, 5), found)
    wide = np.concatenate([source, np.zeros_like(source)], 1)  # more padding changes nothing
    np.testing.assert_array_equal(m.generate(wide, 5), found)
    longer = [np.concatenate([t, np.zeros_like(t)], 1) for t in (target_in, target)]
    kept = np.ones((512, 5)) * (target > 0)
    loss = m.evaluate([source, target_in], target, batch_size=512, verbose=0)
    want = m.loss(target, m([source, target_in]).data, sample_weight=kept)
    # Keras's reduction with a mask: the sum over what is not masked, divided by its count.
    np.testing.assert_allclose(loss, float(want) * kept.size / kept.sum(), rtol=1e-4)
    np.testing.assert_allclose(m.evaluate([source, longer[0]], longer[1], batch_size=512, verbose=0), loss, rtol=1e-4)


@pytest.mark.parametrize("enc, dec", [("stack", "bahdanau"), ("both", "stack"), ("lstm", "lstm")])
def test_files_of_other_forms(enc, dec, tmp_path):
    m = model(enc, dec, sampling=0.25, shared_embedding=False, bridge="dense", bridge_activation="relu", seed=4)
    m.save(tmp_path / "m.keras")
    twin = pydl.models.load_model(tmp_path / "m.keras")
    assert float(twin.sampling) == 0.25 and twin.get_config() == m.get_config()
    np.testing.assert_array_equal(twin.generate(SOURCE, 5), m.generate(SOURCE, 5))


def test_writing_follows_the_weights():
    """Recorded steps read the weights where they lie: after training, assignments, changes of structure."""
    source, target_in, target = pairs(64)
    m = compiled(Seq2Seq(encoder(), decoder(), 5, V, embedding=4), 0.05)
    first = m.generate(source, 5)
    writer = next(iter(m._writers.values()))
    m.fit([source, target_in], target, epochs=8, verbose=0)
    second = m.generate(source, 5)
    fresh = Seq2Seq(encoder(), decoder(), 5, V, embedding=4)
    fresh([source, target_in])
    fresh.set_weights(m.get_weights())
    np.testing.assert_array_equal(fresh.generate(source, 5), second)
    assert not np.array_equal(first, second)
    m.decoder.trainable = False
    np.testing.assert_array_equal(m.generate(source, 5), second)
    assert next(iter(m._writers.values())) is not writer


def test_scheduled_sampling():
    """No share: teacher forcing. All: the model's own tokens. The share is read at run time, by one recording."""
    source, target_in, target = pairs(32)
    plain = compiled(model(seed=2), 0.0)
    mixed = compiled(Seq2Seq(encoder(), decoder(), 9, V, embedding=4, sampling=0.0, seed=1), 0.0)
    mixed([source, target_in])
    weights = iter(plain.get_weights())
    for v in mixed.weights:
        if v.name != "sampling":
            v.assign(next(weights))
    # Compared where the teacher's tokens are no padding.
    want, got = plain([source, target_in]).data, mixed([source, target_in], training=True)
    np.testing.assert_array_equal(got._keras_mask.data, target_in != 0)
    np.testing.assert_allclose(got.data[target_in > 0], want[target_in > 0], rtol=1e-4, atol=1e-5)
    mixed.sampling.assign(1.0)
    free = mixed([source, target_in], training=True).data
    written = mixed.generate(source, 5, end_token=None)
    rows = (target_in > 0).all(1)
    assert rows.any()
    np.testing.assert_array_equal(free[rows][..., 1:].argmax(-1) + 1, written[rows])
    np.testing.assert_array_equal(mixed([source, target_in]).data, plain([source, target_in]).data)  # not in training

    rise = pydl.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: mixed.sampling.assign(epoch / 2))
    mixed.sampling.assign(0.0)
    losses = mixed.fit([source, target_in], target, epochs=3, batch_size=32, shuffle=False, verbose=0,
                       callbacks=[rise]).history["loss"]
    np.testing.assert_allclose(losses[0], plain.evaluate([source, target_in], target, verbose=0), rtol=1e-4)
    assert losses[0] != losses[1] != losses[2] and len(mixed.make_train_function().captures) == 1
    compiled(mixed, 0.01)
    first = compiled(Seq2Seq(encoder(), decoder(), 9, V, embedding=4, sampling=1.0))
    assert np.isfinite(first.fit([source, target_in], target, verbose=0).history["loss"][0])  # not built before
    mixed.sampling.assign(0.5)
    history = mixed.fit([source, target_in], target, epochs=40, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


def test_bridge():
    m = model("gru", "bahdanau")
    assert m.bridge_layers == []  # one state of the same size
    memory, mask, states = m.encode(ops.convert_to_tensor(SOURCE))
    np.testing.assert_array_equal(states[0].data[1], memory.data[1, 1])  # the last real step
    np.testing.assert_array_equal(mask.data, SOURCE != 0)
    both = model("both", "bahdanau_lstm")
    memory, mask, states = both.encode(ops.convert_to_tensor(SOURCE))
    joined = np.concatenate([memory.data[[0], 3, :3], memory.data[[0], 0, 3:]], -1)
    for layer, state in zip(both.bridge_layers, states):
        np.testing.assert_allclose(state.data[:1], np.tanh(joined @ layer.kernel + layer.bias), rtol=1e-5, atol=1e-6)
    assert model("gru", "bahdanau", bridge=None).encode(ops.convert_to_tensor(SOURCE))[2] is None
    assert model("stateless", "gru").encode(ops.convert_to_tensor(SOURCE))[2] is None


def test_own_embeddings_and_a_list_of_them():
    class Places(layers.Layer):
        """Adds the number of the place; alone, a step at a time, it is told which."""

        def call(self, x):
            return x + ops.reshape(ops.arange(x.shape[1], dtype="float32"), (1, -1, 1))

        def step(self, x, position):
            return x + ops.cast(ops.convert_to_tensor(position), "float32")

    m = Seq2Seq(encoder(), decoder(), 9, V, source_embedding=layers.Embedding(9, 4),
                target_embedding=[layers.Embedding(V, 4), Places()])
    tokens = m.generate(SOURCE, 5)
    for i in range(len(SOURCE)):
        np.testing.assert_array_equal(tokens[i], padded(reference_beam(m, SOURCE[i], 5, 1, 0)[0][0], 5))
    same = Seq2Seq(encoder(), decoder(), V, V, shared_embedding=True)
    same([SOURCE % V, SOURCE % V])
    assert same.source_embedding is same.target_embedding


@pytest.mark.parametrize("act, words", [
    (lambda m: m.generate(SOURCE, 0), "max_length to be an int of at least 1"),
    (lambda m: m.generate(SOURCE, 3, beam_width=2, n_best=3), "at most beam_width=2"),
    (lambda m: m.generate(SOURCE, 3, start_token=V), r"start_token in 0\.\.4"),
    (lambda m: m.generate(SOURCE.astype("float32"), 3), "integer ids"),
    (lambda m: m.generate(SOURCE, 3, batch_size=0), "positive batch_size"),
    (lambda m: m(SOURCE), r"\[source, target\]"),
    (lambda m: model("gru", "gru").generate(SOURCE, 3, return_attention=True), "no attention weights"),
    (lambda m: Seq2Seq(encoder(), layers.GRU(6), 9, V), "return_sequences=True"),
    (lambda m: Seq2Seq(encoder(), layers.Dense(6), 9, V), "neither"),
    (lambda m: Seq2Seq(layers.GRU(6), decoder(), 9, V)([SOURCE, SOURCE % V]), "return_sequences=True"),
    (lambda m: Seq2Seq(encoder(), decoder(), 9, V, bridge="linear"), "bridge"),
    (lambda m: Seq2Seq(encoder(), decoder(), 9, V, sampling=2), "sampling between 0 and 1"),
    (lambda m: Seq2Seq(encoder(), decoder(), 9, V, shared_embedding=True), "one vocabulary"),
])
def test_errors(act, words):
    with pytest.raises(ValueError, match=words):
        act(model())


def transformer(**options):
    encode = [layers.TransformerEncoder(16, 2) for _ in range(2)]
    decode = [layers.TransformerDecoder(16, 2, normalize_first=bool(i)) for i in range(2)]
    return Seq2Seq(encode, decode, 9, V, source_embedding=layers.TokenAndPositionEmbedding(9, 12, 8, mask_zero=True),
                   target_embedding=layers.TokenAndPositionEmbedding(V, 12, 8, mask_zero=True), **options)


def test_transformer(tmp_path):
    """Blocks with caches write what calls on whole prefixes give, by beam and greedily; they train and are saved."""
    pydl.utils.set_random_seed(3)
    m = transformer()
    m([SOURCE, np.ones((5, 1), "int32")])
    m.set_weights([w * 3 if w.ndim > 1 else w for w in m.get_weights()])
    for width in (1, 3):
        tokens, scores = m.generate(SOURCE, 5, beam_width=width, n_best=width, return_scores=True)
        tokens, scores = tokens.reshape(5, width, 5), scores.reshape(5, width)
        for i, source in enumerate(SOURCE):
            want = reference_beam(m, source, 5, width, 0.0)
            np.testing.assert_array_equal(tokens[i], [padded(t, 5) for t, _ in want])
            np.testing.assert_allclose(scores[i], [s for _, s in want], rtol=1e-4, atol=1e-4)
    source, target_in, target = pairs(512)
    fresh = compiled(transformer(), 0.01)
    fresh.fit([source, target_in], target, epochs=20, batch_size=32, verbose=0)
    found = fresh.generate(source, 5)
    assert (found == target).all(1).mean() > 0.9
    mixed = compiled(transformer(sampling=0.5), 0.01)  # every weight is trained by what the choices led to
    mixed([source, target_in])
    before = mixed.get_weights()
    mixed.train_on_batch([source, target_in], target)
    unchanged = [v.path for v, w in zip(mixed.weights, before) if np.array_equal(v.data, w)]
    assert all(path.endswith(("sampling", "key/bias")) for path in unchanged)  # softmax ignores a bias of keys
    fresh.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(pydl.models.load_model(tmp_path / "m.keras").generate(source, 5), found)


def test_tokens_out_of_range():
    m = compiled(model())
    with pytest.raises(IndexError, match="9"):
        m.generate(np.full((2, 4), 9), 3)
    before = m.get_weights()
    with pytest.raises(IndexError):
        m.train_on_batch([SOURCE, np.full_like(SOURCE, V)], SOURCE % V)
    for a, b in zip(m.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    assert m.generate(SOURCE, 3).shape == (5, 3)  # and goes on


def test_functional_encoder_decoder():
    """The plain encoder-decoder of Keras's functional API: states handed on in training, layers shared by two models
    that write token by token."""
    source, target_in, target = pairs(512)
    pydl.utils.set_random_seed(0)
    ids, begun = pydl.Input((None,), dtype="int32"), pydl.Input((None,), dtype="int32")
    table, out_table = layers.Embedding(5, 8, mask_zero=True), layers.Embedding(V, 8, mask_zero=True)
    _, h, c = layers.LSTM(48, return_state=True)(table(ids))
    lstm, dense = layers.LSTM(48, return_sequences=True, return_state=True), layers.Dense(V, activation="softmax")
    sequence, _, _ = lstm(out_table(begun), initial_state=[h, c])
    m = pydl.Model([ids, begun], dense(sequence))
    m.compile(pydl.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    m.fit([source, target_in], target, epochs=25, batch_size=32, verbose=0)

    encode = pydl.Model(ids, [h, c])
    h_in, c_in = pydl.Input((48,)), pydl.Input((48,))
    y, h_out, c_out = lstm(out_table(begun), initial_state=[h_in, c_in])
    step = pydl.Model([begun, h_in, c_in], [dense(y), h_out, c_out])
    states = encode.predict(source, verbose=0)
    token, written = np.full((512, 1), START), []
    for _ in range(5):
        p, *states = step.predict([token, *states], verbose=0)
        token = p[:, -1].argmax(-1)[:, None]
        written.append(token[:, 0])
    written = np.stack(written, 1)
    right = [(w[:n] == t[:n]).all() for w, t, n in zip(written, target, (target > 0).sum(1))]
    assert np.mean(right) > 0.95
