"""How pictures that are given by URL are fetched, if at all."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from m6.config import Config


class FetchConfig(Config):
    """Fetching pictures from the web. Off unless the recipe says so."""

    may_change: ClassVar[tuple[str, ...]] = ("concurrency", "per_host", "retry_failed")

    enabled: bool = False
    """Fetch pictures that are given by URL; without it Documents that need one are dropped."""
    concurrency: int = Field(16, ge=1, le=256)
    """Requests under way at once, in one worker."""
    per_host: int = Field(2, ge=1)
    """Requests to one host at once, in one worker."""
    timeout: float = Field(10.0, gt=0)
    """Seconds to wait for a connection, or for the next bytes."""
    longest: float = Field(60.0, gt=0)
    """Seconds for a whole request, with its redirects."""
    retries: int = Field(2, ge=0)
    """Further attempts after a failure that may pass (time-out, 429, 5xx)."""
    user_agent: str = Field("open-m6", pattern=r"^[!-~][ -~]*$")
    """How the requests name themselves; add where you can be reached: "open-m6 (+mail@here.cn)"."""
    honour_opt_out: bool = True
    """Leave pictures whose X-Robots-Tag header says noai, noimageai, noindex or noimageindex, to all or to the first
    word of `user_agent`."""
    retry_failed: bool = False
    """Try again what the ledger of an earlier call says has failed."""
