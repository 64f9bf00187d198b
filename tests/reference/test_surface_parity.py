"""Every public name of Keras 3 within the course's scope exists, with the same arguments, order and defaults.

What is absent is told by words of its name, listed with the reason; any other name that Keras has must be here.
"""

from __future__ import annotations

import importlib
import inspect

import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402  after the skip

pytestmark = pytest.mark.reference

MODULES = ["", "activations", "backend", "callbacks", "config", "constraints", "datasets", "dtype_policies",
           "initializers", "layers", "losses", "metrics", "models", "ops", "ops.linalg", "ops.nn", "ops.numpy",
           "optimizers", "optimizers.schedules", "preprocessing", "preprocessing.sequence", "random", "regularizers",
           "saving", "tree", "utils"]

# Issue 3: convolution, pooling, images.
IMAGES = ("""Pool Crop Padding UpSampling SpatialDropout Resizing Random Rand Mix Equalization Contrast
          Solarization pool image img unfold fold depth_to_space space_to_depth psnr polar BoundingBoxes
          bounding_boxes directory Pipeline applications""").split()
# Speech, and features of tables.
SPEECH = "ctc CTC HashedCrossing FeatureSpace audio extract_sequences Spectr spectr".split()
# Other frameworks, accelerators, reduced precision, remote machines: no place in a CPU library of float32 / float64.
FOREIGN = """Flax Jax TFSM Torch Orbax RemoteMonitor Quantizer quantizers DTypePolicyMap QDTypePolicy Quantized Int4
          mixed_precision LossScaleOptimizer distribution device export legacy distillation Remat remat nnx set_backend
          KerasFileEditor src Function Operation StatelessScope SymbolicScope unsafe OptimizerMap MultiOptimizer
          get_source_inputs Config visualization""".split()
# Outside the course (CURRICULUM.md rows 8-11 name the optimizers and activations), or waiting for someone who asks.
UNASKED = """Adafactor Lamb Muon ScheduleFree sparse_sigmoid sparsemax stft STFT max_epochs max_steps_per_epoch
          MAP_TO_NONE assert_same_paths map_shape_structure map_structure_up_to traverse split_dataset
          wrappers""".split()
# Of `ops`: signal processing, bit operations, decompositions and NumPy's rarer functions.
OPS = """angle append argpartition bartlett bitwise blackman cbrt cdist cholesky corrcoef correlate custom_gradient det
      dsplit eig erfc erfinv rfft fmod gcd geomspace get_item hamming hanning heaviside i0 inv isin isreal
      istft jvp kaiser kron lcm ldexp left_shift logaddexp2 logdet lstsq lu_factor matrix_rank nan nextafter
      percentile pinv qr rearrange right_shift saturate_cast segment_min segment_prod select signbit sinc slogdet solve
      svd trapezoid unique vander vectorize view""".split()

ABSENT = IMAGES + SPEECH + FOREIGN + UNASKED

SIGNATURES_DIFFER = {
    "layers.Dense": "LoRA and quantisation are left out: lora_rank, lora_alpha, quantization_config",
    "layers.EinsumDense": "as Dense",
    "layers.Embedding": "as Dense",
}


def is_absent(module: str, name: str) -> bool:
    words = ABSENT + (OPS if module.startswith("ops") else [])
    return any(word in name for word in words)


def parameters(function):
    """(name, default) up to `**kwargs`, which Keras keeps for old names."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, p.default) for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def plain(default) -> str:
    """The text of a default: 1 and 1.0 are the same, and so are 1 and (1, 1), of layers over several axes."""
    if isinstance(default, tuple) and len(set(default)) == 1:
        default = default[0]
    return repr(default).rstrip(".0")


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m or "top")
def test_names_and_signatures(module):
    path = f".{module}" if module else ""
    theirs, ours = importlib.import_module(f"keras{path}"), importlib.import_module(f"pydl{path}")
    problems = []
    for name in sorted(n for n in dir(theirs) if not n.startswith("_")):
        full = f"{module}.{name}".lstrip(".")
        if not hasattr(ours, name):
            if not is_absent(module, name):
                problems.append(f"{full} is missing")
            continue
        wanted, got = parameters(getattr(theirs, name)), parameters(getattr(ours, name))
        if name.lower().replace("_", "") == "customobjectscope":  # ours takes one dict or several
            continue
        if wanted is None or not callable(getattr(theirs, name)) or full in SIGNATURES_DIFFER:
            continue
        if [(n, plain(d)) for n, d in (got or [])[: len(wanted)]] != [(n, plain(d)) for n, d in wanted]:
            problems.append(f"{full}: {got}, Keras has {wanted}")
    assert not problems, "\n".join(problems)


ATTRIBUTES = {
    "Layer": """add_loss add_weight build call compute_dtype compute_mask compute_output_shape compute_output_spec dtype
        from_config get_config get_weights input input_spec losses metrics metrics_variables non_trainable_variables
        non_trainable_weights output path set_weights supports_masking trainable trainable_variables trainable_weights
        variables weights""",
    "Model": """compile compute_loss evaluate fit get_layer jit_compile layers load_weights predict predict_on_batch
        run_eagerly save save_weights summary test_on_batch to_json train_on_batch""",
    "Sequential": "add input_shape inputs output_shape outputs pop",
    "Metric": "add_weight dtype from_config get_config reset_state result update_state variables",
    "Loss": "call dtype from_config get_config",
    "Optimizer": """apply apply_gradients assign assign_add build exclude_from_weight_decay from_config get_config
        iterations learning_rate set_weights variables""",
    "Callback": "model on_epoch_end on_train_begin on_train_end set_model",
    "Variable": """assign assign_add constraint dtype name ndim numpy overwrite_with_gradient path shape trainable
        value""",
    "KerasTensor": "dtype ndim reshape shape squeeze",
    "Embedding": "embeddings",
}


def instances(library):
    def sequential():
        model = library.Sequential([library.Input((3,)), library.layers.Dense(2)])
        model.compile("sgd", "mse")
        return model

    layer = library.layers.Dense(2)
    layer(library.Input((3,)))
    embedding = library.layers.Embedding(2, 3)
    embedding.build((None, 1))
    return {"Layer": layer, "Model": sequential(), "Sequential": sequential(), "Metric": library.metrics.Mean(),
            "Loss": library.losses.MeanSquaredError(), "Optimizer": library.optimizers.SGD(),
            "Callback": library.callbacks.Callback(), "Variable": layer.weights[0], "Embedding": embedding,
            "KerasTensor": library.Input((3,))}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes(kind):
    ours, theirs = instances(pydl)[kind], instances(keras)[kind]
    for name in ATTRIBUTES[kind].split():
        assert hasattr(ours, name), f"{kind}.{name} is missing"
        wanted, got = getattr(theirs, name), getattr(ours, name)
        if inspect.ismethod(wanted) and kind != "KerasTensor":
            assert callable(got)
            wanted, got = parameters(wanted), parameters(got)
            if name not in ("build", "call", "from_config", "add_weight", "compute_output_shape"):  # Dense's, Mean's
                assert [n for n, _ in got[: len(wanted)]] == [n for n, _ in wanted], f"{kind}.{name}: {got}, {wanted}"
        else:
            assert callable(got) == callable(wanted), f"{kind}.{name}"
