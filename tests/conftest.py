import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent

sys.path.insert(0, str(TESTS))

# `python -m pytest` puts the working directory first, so `import pydl` would find the sources. They can be imported
# only after a development build (docs/architecture.md); without one the installed package is what is tested.
if not any((CHECKOUT / "pydl").glob("_core*.so")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT]
