"""Rows of the conformance suite, one module per family; each exports `CASES`."""
