"""Training on many processes: applied to a model from outside. The model files know nothing of it."""
