"""Rows for element-wise ops: functions, arithmetic with broadcasting, comparisons, logic, casts."""

import math

import numpy as np

import pydl
from harness import Case, integers, normal, uniform

ERF = np.vectorize(math.erf, otypes=[float])
EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, np.inf, -np.inf, np.nan, 1e-30, 1e30, 7.0, -7.0, 1.5, 2.5, 9.0]
)


def mixed(*shape, zeros=0.2):
    """Numbers of both signs, some of them zero."""
    return lambda rng: rng.normal(size=shape) * (rng.random(shape) > zeros)


def flags(*shape):
    return lambda rng: rng.random(shape) > 0.5


# name, reference, range of the argument
FUNCTIONS = [
    ("negative", np.negative, -3, 3),
    ("absolute", np.abs, 0.1, 3),
    ("abs", np.abs, -3, -0.1),
    ("square", np.square, -3, 3),
    ("sqrt", np.sqrt, 0.1, 9),
    ("rsqrt", lambda x: 1 / np.sqrt(x), 0.1, 9),
    ("reciprocal", np.reciprocal, 0.2, 5),
    ("exp", np.exp, -4, 4),
    ("exp2", np.exp2, -4, 4),
    ("expm1", np.expm1, -2, 2),
    ("log", np.log, 0.1, 9),
    ("log1p", np.log1p, -0.8, 5),
    ("log2", np.log2, 0.1, 9),
    ("log10", np.log10, 0.1, 9),
    ("sin", np.sin, -7, 7),
    ("cos", np.cos, -7, 7),
    ("tan", np.tan, -1.3, 1.3),
    ("arcsin", np.arcsin, -0.95, 0.95),
    ("arccos", np.arccos, -0.95, 0.95),
    ("arctan", np.arctan, -4, 4),
    ("sinh", np.sinh, -3, 3),
    ("cosh", np.cosh, -3, 3),
    ("arcsinh", np.arcsinh, -5, 5),
    ("arccosh", np.arccosh, 1.2, 6),
    ("arctanh", np.arctanh, -0.9, 0.9),
    ("erf", ERF, -3, 3),
]
ROUNDING = [
    ("floor", np.floor),
    ("ceil", np.ceil),
    ("trunc", np.trunc),
    ("round", np.round),
    ("sign", np.sign),
]
TESTS = [("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite), ("logical_not", np.logical_not)]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
LOGIC = ["logical_and", "logical_or", "logical_xor"]

CASES = []
for name, reference, low, high in FUNCTIONS:
    CASES.append(Case(name, reference, (uniform(5, 7, low=low, high=high),)))
    CASES.append(Case(name, reference, (uniform(20011, low=low, high=high),), grad=(), tag="chunks"))
    CASES.append(Case(name, reference, (uniform(0, low=low, high=high),), grad=(), tag="empty"))
for name, reference in ROUNDING:
    CASES.append(Case(name, reference, (normal(50, scale=3),), grad=()))
    CASES.append(Case(name, reference, (EDGES,), grad=(), tag="edges"))
for name, reference in TESTS:
    CASES.append(Case(name, reference, (EDGES,), grad=()))
    CASES.append(Case(name, reference, (integers(33, low=-1, high=2),), grad=(), tag="integers"))
CASES += [
    Case("logical_not", np.logical_not, (flags(70001),), grad=(), tag="bool"),
    Case("negative", np.negative, (integers(40, low=-9, dtype="int64"),), grad=(), tag="int64"),
    Case("absolute", np.abs, (integers(40, low=-9),), grad=(), tag="int32"),
    Case("square", np.square, (integers(40, low=-9),), grad=(), tag="int32"),
    Case("sign", np.sign, (integers(40, low=-2, high=3),), grad=(), tag="int32"),
    Case("round", np.round, (normal(50, scale=3),), {"decimals": 2}, grad=(), tag="decimals"),
]

# Broadcasting: every way an operand can be repeated, by shapes; sizes that do not fill a register.
SHAPES = [
    ((3, 5), (3, 5)),
    ((3, 5), ()),
    ((), (3, 5)),
    ((3, 5), (5,)),
    ((3, 5), (3, 1)),
    ((3, 1), (1, 5)),
    ((2, 1, 4, 1), (3, 1, 17)),
    ((2, 3, 1, 5), (2, 3, 4, 5)),
    ((4, 1), (4, 1)),
    ((0, 3), (3,)),
    ((1, 1), (1,)),
    ((2, 3, 4), (2, 1, 4)),
]


def operands(first, second, left=uniform, low=0.3, high=2.0):
    return left(*first, low=low, high=high), left(*second, low=low, high=high)


ARITHMETIC = [
    ("add", np.add),
    ("subtract", np.subtract),
    ("multiply", np.multiply),
    ("divide", np.divide),
    ("maximum", np.maximum),
    ("minimum", np.minimum),
    ("power", np.power),
    ("arctan2", np.arctan2),
]
for name, reference in ARITHMETIC:
    for first, second in SHAPES:
        tag = f"{first}{second}".replace(" ", "")
        CASES.append(Case(name, reference, operands(first, second), tag=tag))
    CASES.append(Case(name, reference, operands((300, 401), (401,)), grad=(), tag="chunks-row"))
    CASES.append(Case(name, reference, operands((70001,), (70001,)), grad=(), tag="chunks"))
for name in COMPARISONS:
    reference = getattr(np, name)
    CASES.append(Case(name, reference, (EDGES, EDGES[::-1].copy()), grad=()))
    CASES.append(Case(name, reference, (integers(5, 33, high=3), integers(33, high=3)), grad=(), tag="int32"))
    CASES.append(
        Case(
            name,
            reference,
            (integers(4, 1, high=3, dtype="int64"), integers(17, high=3, dtype="int64")),
            grad=(),
            tag="int64",
        )
    )
    CASES.append(Case(name, reference, (flags(130), flags(130)), grad=(), tag="bool"))
for name in LOGIC:
    reference = getattr(np, name)
    CASES.append(Case(name, reference, (mixed(7, 9), mixed(9)), grad=()))
    CASES.append(Case(name, reference, (flags(3, 130), flags(3, 1)), grad=(), tag="bool"))

SIGNED = np.array([7.0, -7.0, 7.5, -7.5, 6.0, -6.0, 0.0, 0.3, 1e20])
DIVISORS = np.array([2.0, -2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 0.1, 7.0])
INTEGERS = np.array([7, -7, 7, -7, 0, 5, -(2**31)], "int32")
INTEGER_DIVISORS = np.array([2, 2, -2, -2, 3, 5, -1], "int32")
CASES += [
    Case("true_divide", np.divide, operands((4, 5), (5,))),
    Case("divide", lambda a, b: a / b, (integers(9, low=1), integers(9, low=1)), grad=(), tag="integers"),
    Case("maximum", np.maximum, (EDGES, EDGES[::-1].copy()), grad=(), tag="edges"),
    Case("minimum", np.minimum, (EDGES, EDGES[::-1].copy()), grad=(), tag="edges"),
    Case("maximum", np.maximum, (integers(5, 9), integers(9)), grad=(), tag="int32"),
    Case(
        "minimum",
        np.minimum,
        (integers(5, 9, dtype="int64"), integers(9, dtype="int64")),
        grad=(),
        tag="int64",
    ),
    Case("multiply", np.multiply, (integers(5, 9), integers(5, 1)), grad=(), tag="int32"),
    Case("add", np.add, (integers(5, 9, dtype="int64"), integers(9)), grad=(), tag="int64+int32"),
    Case("power", np.power, (integers(20, low=-4), integers(20, high=5)), grad=(), tag="int32"),
    Case("power", lambda x: x**2, (normal(4, 5),), fn=lambda x: pydl.ops.power(x, 2), tag="square"),
    Case("power", np.sqrt, (uniform(9, low=0.1, high=3),), fn=lambda x: pydl.ops.power(x, 0.5), tag="root"),
    Case("power", lambda x: x**3.0, (normal(9),), fn=lambda x: pydl.ops.power(x, 3), tag="cube"),
    Case("power", lambda x: 2.0**x, (normal(9),), fn=lambda x: pydl.ops.power(2.0, x), tag="base"),
    Case("floor_divide", np.floor_divide, (SIGNED, DIVISORS), grad=()),
    Case("floor_divide", np.floor_divide, (INTEGERS[:-1], INTEGER_DIVISORS[:-1]), grad=(), tag="int32"),
    Case("mod", np.mod, (SIGNED, DIVISORS), grad=(), rtol_eps=0.0, tag="signs"),
    Case("mod", np.mod, (uniform(4, 6, low=2.2, high=2.8), uniform(6, low=0.95, high=1.05))),
    Case("mod", np.mod, (INTEGERS, INTEGER_DIVISORS), grad=(), tag="int32"),
    Case("mod", lambda a, b: np.zeros(7, "int32"), (INTEGERS, np.zeros(7, "int32")), grad=(), tag="by-zero"),
    Case(
        "floor_divide",
        lambda a, b: np.zeros(7, "int32"),
        (INTEGERS, np.zeros(7, "int32")),
        grad=(),
        tag="by-zero",
    ),
    Case(
        "clip",
        lambda x, x_min, x_max: np.clip(x, x_min, x_max),
        (normal(6, 7),),
        {"x_min": -0.5, "x_max": 1.0},
    ),
    Case(
        "clip", np.clip, (normal(6, 7), uniform(7, low=-1, high=-0.5), uniform(6, 1, low=0.5)), tag="tensors"
    ),
    Case(
        "clip",
        lambda x, x_min, x_max: np.clip(x, x_min, x_max),
        (integers(40),),
        {"x_min": 2, "x_max": 6},
        grad=(),
        tag="int32",
    ),
    Case("where", np.where, (flags(4, 33), normal(4, 33), normal(33))),
    Case("where", np.where, (flags(4, 1), normal(1, 33), normal(4, 1)), tag="repeat"),
    Case("where", np.where, (flags(70001), normal(70001), normal()), grad=(), tag="chunks"),
    Case("where", np.where, (flags(9), integers(9), integers(9)), grad=(), tag="int32"),
    Case("where", np.where, (flags(130), flags(130), flags(130)), grad=(), tag="bool"),
    # The indices depend on values: neither recorded nor inferred.
    Case("where", np.nonzero, (flags(4, 5),), grad=(), tag="indices", symbolic=False, replay=False),
    Case(
        "divide_no_nan",
        lambda a, b: np.where(b == 0, 0, a / np.where(b == 0, 1, b)),
        (normal(5, 8), mixed(5, 8)),
        grad=(),
    ),
    Case("logaddexp", np.logaddexp, (normal(5, 8, scale=5), normal(8, scale=5))),
    Case("isclose", np.isclose, (EDGES, EDGES * (1 + 1e-6)), grad=()),
    Case(
        "isclose",
        lambda a, b: np.isclose(a, b, equal_nan=True),
        (EDGES, EDGES),
        grad=(),
        fn=lambda a, b: pydl.ops.isclose(a, b, equal_nan=True),
        tag="nan",
    ),
    Case(
        "nan_to_num",
        lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-2.0),
        (EDGES,),
        grad=(),
        fn=lambda x: pydl.ops.nan_to_num(x, 1.0, 2.0, -2.0),
    ),
    Case("real", np.real, (normal(4),)),
    Case("imag", np.imag, (normal(4),), grad=()),
    Case("conj", np.conj, (normal(4),)),
    Case("conjugate", np.conjugate, (normal(4),)),
]


def saturating(dtype):
    info = np.iinfo(dtype)

    def reference(x):
        if x.dtype.kind != "f":
            return x.astype(dtype)  # integers wrap
        x = np.nan_to_num(np.trunc(x.astype(np.longdouble)), nan=0.0, posinf=np.inf, neginf=-np.inf)
        return np.clip(x, info.min, info.max).astype(dtype)

    return reference


WIDE = np.array(
    [0.0, -0.9, 0.9, -1.5, 255.0, 256.0, -1.0, 3e9, -3e9, 1e19, -1e19, np.inf, -np.inf, np.nan, 2147483647.0]
)
for source in (
    WIDE,
    np.array([0, 1, -1, 2**31 - 1, -(2**31), 300], "int32"),
    np.array([0, 1, -1, 2**40, -(2**40)]),
    np.array([True, False] * 40),
    np.array([0, 1, 200], "uint8"),
):
    kind = "float" if source.dtype.kind == "f" else str(source.dtype)
    for dtype in ("int32", "int64", "uint8"):
        CASES.append(
            Case(
                "cast",
                saturating(dtype),
                (source,),
                fn=lambda x, dtype=dtype: pydl.ops.cast(x, dtype),
                grad=(),
                tag=f"{kind}-{dtype}",
            )
        )
    CASES.append(
        Case(
            "cast",
            lambda x: x != 0,
            (source,),
            fn=lambda x: pydl.ops.cast(x, "bool"),
            grad=(),
            tag=f"{kind}-bool",
        )
    )
    if kind != "float":
        CASES.append(
            Case(
                "cast",
                lambda x: x.astype("float64"),
                (source,),
                fn=lambda x: pydl.ops.cast(x, "float64"),
                grad=(),
                tag=f"{kind}-float64",
            )
        )
CASES.append(
    Case(
        "cast",
        lambda x: x,
        (normal(4, 5),),
        fn=lambda x: pydl.ops.cast(pydl.ops.cast(x, "float64"), x.dtype),
        tag="floats",
    )
)
