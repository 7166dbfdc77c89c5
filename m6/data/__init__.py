"""Documents to samples to packed batches."""
