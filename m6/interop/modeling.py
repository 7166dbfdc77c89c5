"""`M6ForConditionalGeneration`: the native `Transformer` behind the interface of transformers.

Ids and pictures come in as `M6Processor` makes them, logits of text go out. Positions and the partial mask follow from
the ids (`m6.interop.layout`); keys and values are kept in a `Cache` of transformers, so that `generate` and its ways of
decoding work. The weights have the names of the native ones behind `model.`, which `from_pretrained` adds by itself:
it reads the very files that the native model is loaded from.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from m6.interop.configuration import M6Config
from m6.interop.layout import lay_out, mask, picture_places
from m6.model.initial import initialise
from m6.model.transformer import Transformer
from m6.tokenizer.vocabulary import IMAGE, PAD
from m6.vqgan.model import VQGAN


class LayerCache:
    """One layer of a cache of transformers, as the native attention asks for it."""

    def __init__(self, cache: Cache, layer: int) -> None:
        self.cache, self.layer = cache, layer

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """New keys and values [B, H, T, K] to all so far."""
        found: tuple[Tensor, Tensor] = self.cache.update(key, value, self.layer)
        return found


class M6ForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Answers, captions and poems. Codes of pictures it reads as the native model does, but does not write here."""

    config_class = M6Config
    config: M6Config
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _no_split_modules = ["Block"]

    def __init__(self, config: M6Config) -> None:
        super().__init__(config)
        size = config.model
        backbone = None
        if size.stem == "backbone":
            with torch.device("cpu"):  # `from_pretrained` makes models on "meta", where its quantizer cannot be made
                backbone = VQGAN(config.image_tokenizer).backbone()
        self.model = Transformer(size, config.vocab_size + config.num_codes, backbone)
        self.patch_grid = config.patch_grid
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Of text, and behind it of image codes."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> NoReturn:
        """ValueError: the rows behind those of the text are image codes."""
        raise ValueError("the vocabulary of M6 cannot be changed: image codes stand right behind the text in it")

    def get_output_embeddings(self) -> None:
        """None: logits are products with the input embeddings."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Weights that a folder lacks are those that the native model begins with."""
        if any(True for _ in module.parameters(recurse=False)):
            names = [name for name, each in self.model.named_modules() if each is module]
            initialise(module, self.model.config, self.model.seed, *names)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        positions: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        inputs_embeds: Tensor | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, T, V] of the text vocabulary, and the loss if there are labels.

        input_ids: [B, T] int64, see `m6.interop.layout`. attention_mask: [B, P + T], P of them cached; what is not
        `<pad>` by default. pixel_values: [N, 3, S, S] uint8, pictures of the batch in order. positions: [B, T, 3], of
        tokens behind a cache, which `generate` tells; a prefix goes in as one. labels: [B, T] int64, the ids that are
        learnt, -100 elsewhere; each is predicted by the token before it. cache: what transformers from 5.24 on calls
        past_key_values. ValueError for what does not fit together.
        """
        past_key_values = past_key_values if cache is None else cache
        if inputs_embeds is not None:
            raise ValueError("M6 takes input_ids, not inputs_embeds: they tell what is prefix and what is written")
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if past and positions is None:
            raise ValueError("behind a cache positions are needed, which `generate` tells")
        if attention_mask is not None:
            visible = attention_mask.bool()
        else:  # of a cache without one, nothing is filling: that is when `generate` leaves it out
            visible = F.pad(input_ids != PAD, (past, 0), value=True)
        if past_key_values is not None and past_key_values.is_compileable:
            raise ValueError("M6 takes a cache that grows, such as DynamicCache")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        place, causal, branch = lay_out(input_ids, visible[:, past:], self.patch_grid)
        caches: Any = None
        if past_key_values is not None:
            caches = [LayerCache(past_key_values, layer) for layer in range(len(self.model.blocks))]
        hidden = self.model(
            input_ids,
            place if positions is None else positions,
            mask(visible, causal, branch, past),
            *self._pictures(input_ids, pixel_values),
            caches=caches,
            real=visible[:, past:],
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.model.logits(hidden[:, kept])[..., : self.config.vocab_size]
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def _pictures(self, ids: Tensor, pixels: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Groups [N, S, S, 3] as the native model takes them, and the places of their patches."""
        rows, columns = self.patch_grid
        count = 0 if pixels is None else len(pixels) * rows * columns
        if not torch.compiler.is_compiling() and int((ids == IMAGE).sum()) != count:
            raise ValueError(
                f"{0 if pixels is None else len(pixels)} pictures are {count} tokens <image>, there are "
                f"{int((ids == IMAGE).sum())} in input_ids; M6Processor makes both"
            )
        if pixels is None:
            return (), None
        return (pixels.permute(0, 2, 3, 1),), picture_places(ids, count)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What `forward` needs for a step of `generate`: only what is not cached, with its positions."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, attention_mask=attention_mask, is_first_iteration=is_first_iteration, **kwargs
        )
        visible = input_ids != PAD if attention_mask is None else attention_mask.bool()
        new = inputs["input_ids"].shape[1]
        inputs["positions"] = lay_out(input_ids, visible, self.patch_grid).position[:, -new:]
        if new == input_ids.shape[1]:
            inputs["pixel_values"] = pixel_values
        return inputs

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        """Beams of a row have the pictures of that row, however many."""
        pixels = kwargs.pop("pixel_values", None)
        if pixels is not None and input_ids is not None and expand_size > 1:
            rows, columns = self.patch_grid
            own = pixels.split(((input_ids == IMAGE).sum(1) // (rows * columns)).tolist())
            pixels = torch.cat([each.repeat(expand_size, 1, 1, 1) for each in own])
        found, kwargs = super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **kwargs)
        return found, kwargs if pixels is None else {**kwargs, "pixel_values": pixels}
