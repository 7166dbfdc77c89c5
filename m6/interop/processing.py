"""`M6Processor`: texts and pictures to what the model reads, and `M6ImageProcessor`, its part for pictures.

    [{"role": "user", "content": [{"type": "image", "path": "cat.png"}, {"type": "text", "text": "猫是什么颜色？"}]}]
        -> <image> ... <image> 猫是什么颜色？ <text>

The chat template asks as the pretraining objectives do (`m6.data.objectives`): a picture alone for its caption, a
picture and a question for the answer, a question without a picture with its cue, any other text as it is.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import load_image, make_flat_list_of_images, to_numpy_array

from m6.corpus.config import ImageRules
from m6.corpus.images.prepare import fit
from m6.tokenizer.vocabulary import END, IMAGE, TEXT

NO_LABEL = -100

CHAT_TEMPLATE = """\
{%- if messages | length > 2 or messages[0].role != 'user' or messages[-1].role not in ('user', 'assistant') -%}
{{ raise_exception('M6 has learnt to answer one message of a user, and neither system prompts nor conversations') }}
{%- endif -%}
{%- set asked = namespace(text='', pictures='') -%}
{%- if messages[0].content is string -%}
{%- set asked.text = messages[0].content -%}
{%- else -%}
{%- for part in messages[0].content -%}
{%- if part.type == 'image' -%}
{%- set asked.pictures = asked.pictures + '<image>' -%}
{%- else -%}
{%- set asked.text = asked.text + part.text -%}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- asked.pictures -}}
{%- if not asked.pictures and asked.text.endswith(('？', '?')) -%}
{{- asked.text.rstrip('？?。.：: ') + '？答：' -}}
{%- else -%}
{{- asked.text -}}
{%- endif -%}
{%- if messages | length == 2 -%}
{{- '<text>' -}}
{%- if messages[1].content is string -%}{{- messages[1].content -}}
{%- else -%}{%- for part in messages[1].content -%}{{- part.text -}}{%- endfor -%}{%- endif -%}
{{- '<end>' -}}
{%- elif add_generation_prompt -%}
{{- '<text>' -}}
{%- endif -%}
"""


class M6ImageProcessor(BaseImageProcessor):
    """The whole picture in the middle of a white square, as in the corpus; one with a transparent ground is cut out by
    the rules of the bundled pictures. Values stay whole levels, 0 to 255: the model brings them to its range itself."""

    model_input_names = ["pixel_values"]

    def __init__(self, image_size: int = 64, crop: bool = False, margin: int = 0, **kwargs: Any) -> None:
        """crop, margin: of pictures with a transparent ground, see `ImageRules`."""
        super().__init__(**kwargs)
        self.image_size, self.crop, self.margin = image_size, crop, margin

    def preprocess(self, images: Any, return_tensors: str | None = None, **kwargs: Any) -> BatchFeature:
        """pixel_values [N, 3, S, S] uint8 of one picture or many: PIL images, arrays, paths or URLs."""
        pixels = [self._square(image) for image in make_flat_list_of_images(self.fetch_images(images))]
        return BatchFeature({"pixel_values": np.stack(pixels)}, tensor_type=return_tensors)

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """The same."""
        return self.preprocess(images, *args, **kwargs)

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Pictures at paths with their transparency, which `load_image` would drop; others as ever."""
        if isinstance(image_url_or_urls, list | tuple):
            return [self.fetch_images(each) for each in image_url_or_urls]
        if isinstance(image_url_or_urls, str) and Path(image_url_or_urls).is_file():
            return Image.open(io.BytesIO(Path(image_url_or_urls).read_bytes()))
        return load_image(image_url_or_urls) if isinstance(image_url_or_urls, str) else image_url_or_urls

    def _square(self, image: Any) -> np.ndarray:
        picture = image if isinstance(image, Image.Image) else Image.fromarray(to_numpy_array(image))
        rules = ImageRules(crop=self.crop, margin=self.margin) if picture.has_transparency_data else ImageRules()
        return np.asarray(fit(picture, self.image_size, rules)).transpose(2, 0, 1)


class M6Processor(ProcessorMixin):
    """Texts and pictures together. Texts are filled up on the left, so that answers can be written behind them."""

    image_token = "<image>"
    image_token_id = IMAGE

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 64,
        chat_template: str | None = CHAT_TEMPLATE,
        **kwargs: Any,
    ) -> None:
        """num_image_tokens: of every picture."""
        self.num_image_tokens = num_image_tokens
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        suffix: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """input_ids and attention_mask [B, T], pixel_values [N, 3, S, S] uint8, and labels [B, T] if there are answers.

        text: one or many; a text that has no `<image>` has its picture before it; none at all asks for captions.
        suffix: the answers, one a text, to learn from. The mark `<text>`, behind which is written, is added where it is
        missing.
        """
        if images is not None:
            images = self.image_processor.fetch_images(images)
        texts = _texts(images, text)
        if suffix is not None:
            answers = [suffix] if isinstance(suffix, str) else list(suffix)
            texts = [f"{asked}<text>{answer}<end>" for asked, answer in zip(texts, answers, strict=True)]
        texts = [each if "<text>" in each else f"{each}<text>" for each in texts]
        kwargs = {"padding": len(texts) > 1, **kwargs, "add_special_tokens": False}
        wanted = kwargs.pop("return_tensors", "pt")
        found = super().__call__(images, texts, return_tensors="pt" if suffix is not None else wanted, **kwargs)
        if suffix is not None:
            found["labels"] = labels(found["input_ids"])
        return found

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The tokens of one picture."""
        return self.image_token * self.num_image_tokens

    @property
    def model_input_names(self) -> list[str]:
        """What the model takes."""
        return ["input_ids", "attention_mask", "pixel_values"]


def labels(ids: torch.Tensor) -> torch.Tensor:
    """ids [B, T] with -100 for what is not written: the prefix, the mark, filling."""
    begun = (ids == TEXT).cumsum(1) > 0
    ended = ((ids == END).cumsum(1) - (ids == END).int()) > 0
    return ids.masked_fill(~begun | ended | (ids == TEXT), NO_LABEL)


def _texts(images: Any, text: str | Sequence[str] | None) -> list[str]:
    """One text a row, each with a mark for every picture of it."""
    many = isinstance(images, list | tuple)
    if text is None:
        return [M6Processor.image_token] * (len(images) if many else 1)
    texts = [text] if isinstance(text, str) else list(text)
    if images is None or any(M6Processor.image_token in each for each in texts):
        return texts
    if len(texts) == 1:
        flat = images[0] if many and images and isinstance(images[0], list | tuple) else images
        return [M6Processor.image_token * (len(flat) if many else 1) + texts[0]]
    if not many or len(images) != len(texts):
        raise ValueError(
            f"{len(texts)} texts and {len(images) if many else 1} pictures: mark with <image> which go where"
        )
    return [M6Processor.image_token + each for each in texts]
