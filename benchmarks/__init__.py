"""Benchmarks: this project beside others, on the same machine, texts and rules, in one run (docs/en/benchmarks.md).

Each file `measure`s some keys and returns their rows (`rows.py`); those that `series.py` names, and `gpu.py`, are
commands, by way of `command.py`. `python -m benchmarks` runs the series and writes `results/` with pages and plots.
`ablations.py` trains the same model with one choice changed, and `curve.py` draws what it found. No part of the package
that is installed.
"""
