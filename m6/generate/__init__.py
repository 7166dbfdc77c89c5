"""Answers and pictures from a trained model."""
