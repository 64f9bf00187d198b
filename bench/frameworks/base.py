"""Another version of pydl, installed in the Python that `--base-python` names: before and after in one run."""

from bench.frameworks.pydl import *  # noqa: F403  what the worker asks for
