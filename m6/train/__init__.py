"""Runs: one loop, the image tokenizer, pretraining, evaluation."""
