"""Estimators with scikit-learn's interface (`pip install 'pydl[sklearn]'`), at home in its pipelines and searches.

`Perceptron` and `PerceptronRegressor` are the single unit, every update of which can be watched. `MLPClassifier` and
`MLPRegressor` have the arguments of scikit-learn's and give its results, faster. `NeuralClassifier` and
`NeuralRegressor` wrap any model of pydl.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # scikit-learn 1.6 brought it
except ImportError as error:
    raise ImportError("pydl.estimators builds on scikit-learn, 1.6 or newer, which is not installed: pip install"
                      " 'pydl[sklearn]'.") from error

from pydl import exports
from pydl.estimators.mlp import *
from pydl.estimators.neural import *
from pydl.estimators.perceptron import *

__all__ = exports.public(globals())
