"""A text on its way into the corpus: brought to its normal form, cleaned, and kept or dropped by rules."""
