"""What a training asks of the machine and of the other sections of its recipe, told before anything is computed.

In: configs. Out: nothing, or a UserError. Torch is imported only where a config asks for what may be missing, so that
it is cheap to ask before the first stage of a long run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from m6.config import UserError
from m6.model.config import ModelConfig
from m6.model.vision_folder import VisionFolder
from m6.recipes.recipe import Recipe
from m6.shipped import run_folder
from m6.train.config import LoopConfig, PretrainStage
from m6.train.start import check_start
from m6.vqgan.config import VQGANConfig


def check_recipe(recipe: Recipe, folder: Path) -> None:
    """UserError if one of the two trainings of a recipe cannot be done on this machine, in this run folder."""
    loop = recipe.vqgan.loop
    for name in accelerations(loop):
        raise UserError(f"vqgan.loop.{name} is for the transformer, not for the image tokenizer")
    if loop.heldout_every:
        raise UserError("vqgan.loop.heldout_every: nothing is held out for this training; 0 turns it off")
    _check_loop(loop)
    check_pretraining(recipe.pretrain, recipe.model, recipe.vqgan.model, folder)


def accelerations(loop: LoopConfig) -> list[str]:
    """The fields that ask for a faster or smaller step."""
    asked = {"compile": loop.compile, "checkpointing": loop.checkpointing != "none", "float8": loop.float8}
    return [name for name, wanted in asked.items() if wanted]


def check_pretraining(stage: PretrainStage, model: ModelConfig, vqgan: VQGANConfig, folder: Path) -> None:
    """UserError if a model cannot be trained as a stage says, on this machine, in this run folder."""
    if not stage.data.mixture:
        raise UserError("pretrain.data.mixture is empty; a recipe names at least one source with its objectives")
    if model.stem == "backbone" and (model.patch_size, model.backbone_channels) != (
        vqgan.downsample,
        vqgan.channels[-1],
    ):
        raise UserError(
            f"model.patch_size {model.patch_size} and model.backbone_channels {model.backbone_channels} must be those "
            f"of the image tokenizer, {vqgan.downsample} and {vqgan.channels[-1]}, for model.stem 'backbone'"
        )
    if model.stem == "crops":
        VisionFolder.read(model.crops.folder)
        if find_spec("transformers") is None:
            raise UserError("model.stem 'crops' needs transformers: pip install 'open-m6[vision]'")
    if not model.coarse_codes and any(entry.objectives.get("coarse_to_fine") for entry in stage.data.mixture):
        raise UserError("the objective coarse_to_fine needs model.coarse_codes true")
    _check_loop(stage.loop)
    if model.experts.num_experts > 1 and model.experts.kernel == "grouped":
        _check_grouped(stage.loop, model)
    if stage.start_from:
        check_start(run_folder(stage.start_from), model, folder)


def _check_loop(loop: LoopConfig) -> None:
    if loop.device == "cuda" or loop.float8:
        from m6.train.acceleration import check_float8
        from m6.train.hardware import choose_device

        device = choose_device(loop.device)
        if loop.float8:
            check_float8(device)
    if loop.optimizer.states == "8bit":
        from m6.train.optimizer import adamw_8bit

        adamw_8bit()


def _check_grouped(loop: LoopConfig, model: ModelConfig) -> None:
    import torch

    from m6.model.experts.ffn import use_grouped
    from m6.train.hardware import choose_device, matrix_dtype

    device = choose_device(loop.device)
    rows = torch.empty(0, model.hidden_size, dtype=matrix_dtype(loop.precision, device), device=device)
    use_grouped("grouped", rows, model.expert_ffn_size)
