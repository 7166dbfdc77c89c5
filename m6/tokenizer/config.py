"""Settings of the text vocabulary."""

from pydantic import Field

from m6.config import Config, Count
from m6.tokenizer.vocabulary import SPECIALS


class TokenizerConfig(Config):
    """Byte-pair encoding over characters, with bytes to fall back on."""

    start_from: str = ""
    """Run folder whose vocabulary is taken as it is; nothing is learnt then. Empty learns one."""
    vocab_size: int = Field(6000, ge=len(SPECIALS) + 256)
    """Text entries at the most: specials, 256 bytes, characters, then merged pieces."""
    max_piece: Count = 4
    """Longest merged piece, in characters; 1 keeps a plain character vocabulary."""
