"""Settings of the server. Free of torch, so that help stays light."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from m6.config import Config, Count, Positive, Whole


class ServeConfig(Config):
    """Where it listens, how much it does at once, and what it refuses."""

    host: str = "127.0.0.1"
    """Address it listens on; 0.0.0.0 lets other machines in."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port; 0 takes any that is free."""
    api_key: str = ""
    """What callers have to send as `Authorization: Bearer KEY`, that of the environment variable M6_API_KEY if it is
    left out; nobody is asked if it is empty."""
    slots: Count = 32
    """Texts and pictures that are worked on at once; memory for all of them is taken at the start, and those that are
    free cost no time."""
    text_slots: Whole = 4
    """Slots for texts alone, so that a short answer never waits for a long picture; always fewer than `slots`."""
    max_queue: Count = 64
    """Requests that may wait, of texts, of paintings and of matches each; more are refused at once."""
    max_seconds: Positive = 120.0
    """Seconds after which a request that is not done ends."""
    max_size: Whole = 0
    """Pixels on a side of the largest picture that is painted, for which slots have room; of the run if it is less."""
    max_body_mb: Positive = 16.0
    """Megabytes of a request."""
    max_picture_mb: Positive = 10.0
    """Megabytes of a picture, as a file."""
    max_pixels: Count = 40_000_000
    """Pixels of a picture that is sent."""
    max_prompt: Count = 4_000
    """Characters of a text that is sent; what the model has learnt to read may be less."""
    fetch_pictures: bool = False
    """Fetches pictures that are given by address, from public addresses alone; else they have to be sent."""
    fetch_seconds: Positive = 10.0
    """Seconds for fetching one."""
    kept_pictures: Whole = 64
    """Pictures of which what the model made is kept, for the next question about one of them."""
    int8: bool = False
    """Computes the products of the blocks in whole numbers of 8 bits: less memory, a little less exact."""
