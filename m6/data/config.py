"""Which documents become which samples, and how they are packed. Free of torch."""

from typing import ClassVar, Literal

from pydantic import Field

from m6.config import Config, Count, NotNegative, Share, Whole


class Entry(Config):
    """One line of the mixture: documents of a source, and the objectives made of each."""

    source: str
    """Source of the documents, as the corpus names it."""
    samples: NotNegative
    """Documents taken from it in one step; a fraction is a document every few steps."""
    categories: tuple[str, ...] = ()
    """Only documents whose attribute `category` is one of these; empty takes all."""
    first_step: Whole = 0
    """Step from which on documents are taken: what is hard to see in a crowd may be learnt before the crowd comes."""
    jitter: Share = 0.0
    """Share of their side by which its training pictures are shifted, enlarged or made smaller by chance, where the
    model reads pixels: one picture then teaches what many would. What it moves out of the picture is lost."""
    objectives: dict[str, NotNegative]
    """Objectives made of each document, with the weight of their loss."""


class DataConfig(Config):
    """Mixture, masking and packing."""

    may_change: ClassVar[tuple[str, ...]] = ("max_skipped",)

    mixture: tuple[Entry, ...] = ()
    """What one step is made of."""
    image_input: Literal["codes", "pixels"] = "codes"
    """How the model reads a picture: as codes of the image tokenizer, or as patches of pixels."""
    row_length: Count = 384
    """Tokens in a packed row, at the most; a longer sample gets a row of its own."""
    masked_share: Share = 0.15
    """Share of a text that denoising hides (paper section 3.3)."""
    mean_span: float = Field(3.0, ge=1)
    """Mean length of a hidden span, tokens."""
    empty_prompt: Share = 0.1
    """Share of pictures painted from an empty prompt, which guidance needs."""
    title_prompt: Share = 0.0
    """Share of the other pictures painted from the title of their document alone, where it has one: what a person types
    is more often "猫" than "猫。宠物、小猫"."""
    tell_size: bool = False
    """Behind the prompt of every painting, say its columns and rows of codes, as "32x24": for pictures of several sizes
    and shapes in one training, which begin alike."""
    coarse_factor: int = Field(4, ge=2)
    """How many times smaller the picture is whose codes stand before a fine one's, on each side; for coarse_to_fine."""
    blank_codes: Share = 0.0
    """Of coarse_to_fine, the codes of a picture that those after them do not read are up to this share of all, anew for
    each: neighbours tell so much that only their absence teaches to look at the coarse picture (word dropout, arXiv
    1511.06349)."""
    max_questions: Count = 4
    """Questions asked about one picture in one sample, at the most."""
    max_text: Count = 128
    """Tokens of a text, at the most; the rest is cut in training, refused in use."""
    max_skipped: Share = 0.01
    """Share of the documents so far that may be unusable, as pictures that do not decode; a few always may."""
