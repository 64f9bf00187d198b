"""Benchmarks against the peers: `python -m bench` (see README.md in this folder's parent, docs/performance.md)."""
