"""Whole run descriptions in Python."""
