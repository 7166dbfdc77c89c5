"""Vocabulary and text: one source of truth for id ranges, and the text encoder."""
