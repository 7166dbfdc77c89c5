"""A picture on its way into the corpus: put to rules, and brought to the size of training."""
