"""Recipe: the whole description of a run, one section a stage, composed of the configs beside the code that uses them.

A recipe file is Python with a function `recipe()` that returns one of these; it may start from another recipe:

    from m6.recipes import quickstart

    def recipe() -> Recipe:
        return quickstart.recipe().override({"model.num_layers": 6})
"""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from m6.config import Config, UserError, Whole, load_recipe, recipe_names
from m6.corpus.config import CorpusConfig
from m6.model.config import ModelConfig
from m6.shipped import lasting, run_folder
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import EvaluateStage, FinetuneStage, PretrainStage, VQGANStage


class Recipe(Config):
    """A whole run, from the raw sources to the report."""

    seed: Whole = 0
    """Start of everything that is drawn by chance."""
    corpus: CorpusConfig = CorpusConfig()
    """Sources, rules and splits."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """The vocabulary."""
    vqgan: VQGANStage = VQGANStage()
    """The image tokenizer."""
    model: ModelConfig = ModelConfig()
    """Size of the transformer."""
    pretrain: PretrainStage = PretrainStage()
    """Pretraining."""
    finetune: FinetuneStage = FinetuneStage()
    """Finetuning on a task, in a run folder of its own."""
    evaluate: EvaluateStage = EvaluateStage()
    """Evaluation."""

    @property
    def learnt(self) -> set[str]:
        """The objectives of its pretraining, and the task of its finetuning."""
        entries = [entry for entry in self.pretrain.data.mixture if entry.samples]
        names = {name for entry in entries for name, weight in entry.objectives.items() if weight}
        return names | ({self.finetune.task} if self.finetune.task else set())

    @model_validator(mode="after")
    def _pictures_divide(self) -> Self:
        size = self.corpus.image_size
        sides = {"the image tokenizer's": self.vqgan.model.downsample}
        if self.pretrain.data.image_input == "pixels":
            if self.model.stem != "crops":
                sides["the model's"] = self.model.patch_size
            elif size < self.model.crops.grid:
                raise ValueError(f"corpus.image_size {size} is too small for {self.model.crops.grid} crops on a side")
        if self.vqgan.crop > size:
            raise ValueError(f"vqgan.crop {self.vqgan.crop} is larger than the pictures, corpus.image_size {size}")
        for whose, side in sides.items():
            if size % side:
                raise ValueError(f"corpus.image_size {size} is not a multiple of {whose} patches, {side} pixels wide")
            if size // side > self.model.max_side:
                raise ValueError(
                    f"corpus.image_size {size} gives {size // side} of {whose} patches on a side, more than "
                    f"model.max_side {self.model.max_side}"
                )
        return self


BEGUN_SHARE = 0.2
"""Of the updates of a recipe, which are enough for one that begins with a trained run."""
BEGUN_RATES = ((0.0, 0.0), (0.1, 0.5), (1.0, 0.02))
"""Schedule of the rates: what is learnt already is not to be shaken."""


def is_run_folder(name: str) -> bool:
    """Whether a folder is meant; the recipes of the package go first."""
    return name not in recipe_names() and Path(name).is_dir()


def named(name: str) -> Recipe:
    """The recipe of this name or path, or that of the run folder of this name. UserError if there is none."""
    if is_run_folder(name):
        if not (Path(name) / "config.json").exists():
            raise UserError(f"{name}: not a run folder, it has no config.json")
        return Recipe.read(Path(name) / "config.json")
    recipe = load_recipe(name)
    if not isinstance(recipe, Recipe):
        raise UserError(f"{name}: recipe() returned {type(recipe).__name__}, it has to return a Recipe")
    return recipe


def begun(recipe: Recipe, name: str) -> Recipe:
    """The recipe, beginning where a trained run stands instead of at chance: what `--from RUN` makes of it.

    Vocabulary, image tokenizer and the model's shape are those of the run, for its weights mean something with these
    alone; corpus and objectives are those of the recipe. Only pictures of a source that both have lie in their squares
    as the run has learnt them, or all of their codes would be new. What it has learnt needs no first steps of its own:
    all lines of the mixture join at once. UserError if it is no run folder, or has pictures of another size.
    """
    config, run = run_folder(name) / "config.json", lasting(name)
    if not config.is_file():
        raise UserError(f"--from: {run} is not a run folder, it has no config.json")
    theirs = Recipe.read(config)
    sides = [each.corpus.image_size for each in (theirs, recipe)]
    if sides[0] != sides[1]:
        raise UserError(f"--from: {run} has pictures of {sides[0]} pixels, this recipe of {sides[1]}; take one of both")
    pretrain = recipe.pretrain
    every = pretrain.loop.log_every
    laid = {
        f"corpus.sources.{name}.images.{field}": getattr(source.images, field)
        for name, source in theirs.corpus.sources.items()
        for field in ("crop", "margin")
        if name in recipe.corpus.sources
    }
    return recipe.override(
        {
            **laid,
            "tokenizer.start_from": run,
            "vqgan.model": theirs.vqgan.model,
            "vqgan.start_from": run,
            "vqgan.frozen": True,
            "vqgan.losses": type(recipe.vqgan.losses)(),
            "vqgan.features": type(recipe.vqgan.features)(),
            "model": theirs.model,
            "pretrain.start_from": run,
            "pretrain.data.image_input": theirs.pretrain.data.image_input,
            "pretrain.data.mixture": tuple(entry.override({"first_step": 0}) for entry in pretrain.data.mixture),
            "pretrain.loop.num_steps": max(1, round(BEGUN_SHARE * pretrain.loop.num_steps / every)) * every,
            "pretrain.loop.optimizer.schedule": BEGUN_RATES,
        }
    )
