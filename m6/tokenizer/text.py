"""Text to ids and back.

A byte-pair vocabulary over characters with byte fallback: a character that the vocabulary does not hold is spelt as
its UTF-8 bytes, so that every text survives the round trip. Built on `tokenizers`; one JSON file holds it all.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from m6.config import UserError
from m6.tokenizer.vocabulary import SPECIALS


class TextTokenizer:
    """Encodes and decodes; `size` is the number of text entries, specials included."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size: int = tokenizer.get_vocab_size()

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """Reads `tokenizer.json`; UserError if it is missing or damaged."""
        if not path.exists():
            raise UserError(f"{path}: no tokenizer here; train one with `m6 tokenizer`")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception for damaged files
            raise UserError(f"{path}: not a tokenizer file ({error}); delete it and run `m6 tokenizer` again") from None

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without specials."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; specials are left out, bytes that form no character become U+FFFD."""
        return self._tokenizer.decode([token for token in ids if token >= len(SPECIALS)])

    def piece(self, token: int) -> str:
        """The surface of one entry: its characters, or '' for a special or a single byte."""
        piece = self._tokenizer.id_to_token(token) or ""
        return "" if token < len(SPECIALS) or (len(piece) == 6 and piece.startswith("<0x")) else piece
