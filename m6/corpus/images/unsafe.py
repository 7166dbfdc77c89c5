"""Unsafe pictures: a score by a model of your own, in ONNX; none is bundled.

In: a picture and the path of a model. Out: how unsafe the model takes it to be, 0 to 1. Any ONNX classifier will do
whose one input is a picture of fixed size in RGB as floats ([N, 3, H, W] or [N, H, W, 3]). The picture is stretched to
that size, on a white ground; its values are brought to 0 to 1, less `mean`, divided by `std`, as the model was trained
(ImageNet: mean 0.485 0.456 0.406, std 0.229 0.224 0.225; values of -1 to 1: mean and std 0.5).

The first output is read. One number is the score, a logit if it is not within 0 and 1. Several are classes,
probabilities or else logits (then the softmax of them counts), and the score is the sum of those that are named.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from m6.config import UserError
from m6.corpus.config import ImageRules

PROBABILITIES = 1e-3  # how far the sum of probabilities may be from 1


class Model(NamedTuple):
    """A loaded model."""

    session: Any
    input: str
    height: int
    width: int
    channels_first: bool


def score(
    image: Image.Image,
    model: str,
    classes: Sequence[int] = (1,),
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> float:
    """How unsafe a picture is by the model, 0 to 1. UserError if the model cannot be used."""
    loaded = _load(model)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    image = image.convert("RGB").resize((loaded.width, loaded.height), Resampling.BILINEAR)
    values = (np.asarray(image, np.float32) / 255 - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    if loaded.channels_first:
        values = values.transpose(2, 0, 1)
    try:
        outputs = loaded.session.run(None, {loaded.input: np.ascontiguousarray(values[None])})
    except Exception as error:  # the runtime has exceptions of its own, and more with each release
        raise UserError(f"unsafe_model {model!r}: it fails: {str(error).splitlines()[0]}") from None
    return _read(np.asarray(outputs[0], np.float64), model, classes)


def score_by_rules(image: Image.Image, rules: ImageRules) -> float:
    """The score by the model that the rules name, as they say."""
    return score(image, rules.unsafe_model, rules.unsafe_model_output, rules.unsafe_model_mean, rules.unsafe_model_std)


def input_size(model: str) -> int:
    """The longer side of the pictures that a model takes, pixels. UserError if it cannot be used."""
    loaded = _load(model)
    return max(loaded.height, loaded.width)


@functools.cache
def _load(model: str) -> Model:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise UserError(f'unsafe_model {model!r}: ONNX is not installed; pip install "open-m6[onnx]"') from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # each worker of the corpus has one core
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"unsafe_model {model!r}: no ONNX model can be read: {str(error).splitlines()[0]}") from None
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    first = len(shape) == 4 and shape[1] == 3
    sides = shape[2:] if first else shape[1:3]
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or not all(isinstance(side, int) for side in sides):
        asked = [(entry.name, entry.shape) for entry in inputs]
        raise UserError(
            f"unsafe_model {model!r}: its inputs are {asked}; one is needed, [N, 3, H, W] or [N, H, W, 3] of fixed size"
        )
    if inputs[0].type != "tensor(float)":
        raise UserError(f"unsafe_model {model!r}: its input is {inputs[0].type}; tensor(float) is needed")
    return Model(session, inputs[0].name, height=sides[0], width=sides[1], channels_first=first)


def _read(output: np.ndarray, model: str, classes: Sequence[int]) -> float:
    """The score that an output means."""
    if output.ndim and output.size != output.shape[-1]:
        raise UserError(
            f"unsafe_model {model!r}: its output has the shape {output.shape}; a classifier's is [1, classes]"
        )
    values = output.ravel()
    if values.size == 1:
        value = float(values[0])
        return value if 0 <= value <= 1 else float(1 / (1 + np.exp(-value)))
    if not all(-values.size <= number < values.size for number in classes):
        raise UserError(
            f"unsafe_model_output {tuple(classes)}: {model!r} has {values.size} classes, 0 to {values.size - 1}"
        )
    if values.min() < 0 or abs(values.sum() - 1) > PROBABILITIES:
        values = np.exp(values - values.max())
        values = values / values.sum()
    return float(values[list(classes)].sum())
