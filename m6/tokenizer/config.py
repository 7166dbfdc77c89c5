"""Settings of the text vocabulary."""

from m6.config import Config


class TokenizerConfig(Config):
    """Byte-pair encoding over characters, with bytes to fall back on."""

    vocab_size: int = 6000
    """Text entries at the most: specials, 256 bytes, characters, then merged pieces."""
    max_piece: int = 4
    """Longest merged piece, in characters; 1 keeps a plain character vocabulary."""
