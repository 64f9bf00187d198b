"""One module per framework; each function named as a workload's `kind` returns (callable, units per call)."""
