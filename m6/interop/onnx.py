"""The model of a Hugging Face folder as one ONNX graph, held against the model before it is kept.

    input_ids [B, T] int64, attention_mask [B, T] int64, pixel_values [N, 3, S, S] uint8 -> logits [B, T, V] float32

Any number of rows, of any length, with any number of pictures among them from one on; the layout is that of
`m6.interop.layout`. It is a whole pass without a cache: for scores and for embedding in other programs, not for long
answers. Source: `torch.export` by the exporter of torch.onnx (opset 18).
"""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from m6.config import UserError
from m6.interop.modeling import M6ForConditionalGeneration
from m6.tokenizer.vocabulary import END, IMAGE, PAD, TEXT

LARGEST_DIFFERENCE = 1e-4
"""Of logits, between ONNX Runtime and the model."""
INPUTS = ("input_ids", "attention_mask", "pixel_values")


class Logits(nn.Module):
    """What is exported."""

    def __init__(self, model: M6ForConditionalGeneration) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor) -> Tensor:
        """[B, T, V]."""
        logits: Tensor = self.model(input_ids, attention_mask, pixel_values, use_cache=False).logits
        return logits


def export_onnx(folder: Path) -> float:
    """Writes model.onnx into a folder that holds a model, weights and all; returns the largest difference of logits.
    UserError if that is too large, and then there is no file."""
    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).eval()
    path = folder / "model.onnx"
    rows, length, pictures = (torch.export.Dim.DYNAMIC for _ in range(3))
    shapes = {
        "input_ids": {0: rows, 1: length},
        "attention_mask": {0: rows, 1: length},
        "pixel_values": {0: pictures},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits(model), example(model, rows=3, pictures=2, length=5), str(path), dynamo=True, verbose=False,
            input_names=INPUTS, output_names=["logits"], dynamic_shapes=shapes, opset_version=18,
        )  # fmt: skip
    difference = max(differs(model, path, example(model, *sizes)) for sizes in ((3, 2, 5), (1, 1, 1), (5, 4, 9)))
    if not difference <= LARGEST_DIFFERENCE:
        for written in folder.glob("model.onnx*"):
            os.unlink(written)
        raise UserError(f"{path}: logits differ from the model's by {difference:.1e}, allowed is {LARGEST_DIFFERENCE}")
    return difference


def example(model: M6ForConditionalGeneration, rows: int, pictures: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of `length` tokens of text, of which the first `pictures` have a picture too; the others are filled up."""
    generator = torch.Generator().manual_seed(rows)
    side, patches = model.config.image_size, model.patch_grid[0] * model.patch_grid[1]
    text = torch.randint(END + 1, model.config.vocab_size, (rows, length), generator=generator)
    text[:, length // 2] = TEXT
    shown = torch.full((rows, patches), PAD)
    shown[:pictures] = IMAGE
    ids = torch.cat([shown, text], 1)
    pixels = torch.randint(256, (pictures, 3, side, side), generator=generator, dtype=torch.uint8)
    return ids, (ids != PAD).long(), pixels


def differs(model: M6ForConditionalGeneration, path: Path, inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    """The largest difference of logits that mean something, between ONNX Runtime and the model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: each.numpy() for name, each in zip(INPUTS, inputs, strict=True)})
    with torch.inference_mode():
        expected = Logits(model)(*inputs).numpy()
    real = inputs[1].bool().numpy()
    return float(np.abs(found - expected)[real].max())
