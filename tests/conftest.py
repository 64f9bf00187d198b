import gc
import signal
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent

sys.path.insert(0, str(TESTS))

# `python -m pytest` puts the working directory first, so `import pydl` would find the sources. They can be imported
# only after a development build (docs/architecture.md); without one the installed package is what is tested.
if not any((CHECKOUT / "pydl").glob("_core*.so")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]

# A shell lets what it starts in the background ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def settled():
    """What collecting the tests, and those of the modules before, have left stays to the end, a million objects: tests
    that collect garbage need not go through it."""
    gc.collect()
    gc.freeze()
