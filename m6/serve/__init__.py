"""Serving a trained run: requests of many people at once, over HTTP, and a page to try it."""
