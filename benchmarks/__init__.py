"""Benchmarks: this project beside others, on the same machine, texts and rules, in one run (docs/en/benchmarks.md).

Each file `measure`s some keys and returns their rows (`rows.py`); `corpus.py`, `train_step.py`, `scale.py` and `gpu.py`
are the commands, by way of `command.py`. `ablations.py` trains the same model with one choice changed, and `curve.py`
draws what it found. No part of the package that is installed.
"""
