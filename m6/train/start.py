"""Where a training begins instead of chance: the newest pretraining weights of another run (`pretrain.start_from`).

The model has to be that of the other run, or to have experts where that one is dense: then the weights are upcycled
(`m6.model.upcycle`). Both runs need the same tokenizers, or what a token was learnt to mean is lost. The optimizer, its
schedule and the order of the data start anew. A run that has checkpoints of its own goes on from these.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from m6.config import UserError, differences
from m6.model.config import ModelConfig
from m6.recipes.recipe import Recipe

if TYPE_CHECKING:
    from m6.model.transformer import Transformer

FREE = (
    "init_std", "experts.capacity_factor", "experts.balance_weight", "experts.z_weight", "experts.kernel",
    "crops.folder", "crops.frozen", "crops.learning_rate_share",
)  # fmt: skip
"""Fields of a model that tell how it is trained, not what its weights mean."""


def check_start(other: Path, model: ModelConfig, folder: Path) -> None:
    """UserError unless the run `other` has pretraining weights that a model of this config can begin with. A run folder
    with checkpoints of its own needs no other."""
    from m6.model.weights import checkpoints, newest

    if checkpoints(folder / "pretrain"):
        return
    if not (other / "config.json").exists():
        raise UserError(f"pretrain.start_from: {other} is not a run folder, it has no config.json")
    newest(other / "pretrain", "pretrain")
    theirs = Recipe.read(other / "config.json").model
    dense = theirs.experts.num_experts == 1
    unlike = [
        each
        for each in differences(theirs, model)
        if not each.startswith(tuple(f"{name}:" for name in FREE)) and not (dense and each.startswith("experts."))
    ]
    if dense and model.experts.num_experts > 1 and model.expert_ffn_size != theirs.ffn_size:
        unlike.append(f"experts.ffn_size: {theirs.ffn_size}, {model.expert_ffn_size}")
    if unlike:
        raise UserError(f"pretrain.start_from: {other} has another model (field: there, here): {'; '.join(unlike)}")


def begin(model: Transformer, other: Path, folder: Path, seed: int) -> None:
    """Fills a model, before it is trained in the run `folder`, with the newest pretraining weights of the run `other`;
    seed: of new routers. UserError if there are none, or if they do not fit."""
    from m6.model.upcycle import upcycle
    from m6.model.weights import load_weights, newest, opened

    check_start(other, model.config, folder)
    for stage, same in {"tokenizer": _same_text, "vqgan": _same_weights}.items():
        if not same(other / stage, folder / stage):
            raise UserError(
                f"pretrain.start_from: {stage} of {other} is not that of {folder}, so ids mean other things there; "
                "the guide on sizes tells how to take it over"
            )
    weights = newest(other / "pretrain", "pretrain")
    files = opened(weights)[0]
    if model.config.experts.num_experts == 1 or any(".experts." in name for name in files.tensors()):
        load_weights(weights, model)
        return
    try:
        model.load_state_dict(upcycle(files.read(), model.config, seed))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{weights}: its tensors do not fit the model of this config ({reason})") from None


def _same_text(other: Path, own: Path) -> bool:
    texts = [hashlib.sha256((folder / "tokenizer.json").read_bytes()).digest() for folder in (other, own)]
    return texts[0] == texts[1]


def _same_weights(other: Path, own: Path) -> bool:
    """Of two image tokenizers, number by number: files may hold tensors in any order. A run without one agrees."""
    from m6.model.weights import checkpoints, opened

    found = [checkpoints(folder)[-1:] for folder in (other, own)]
    if not all(found):
        return True
    theirs, ours = (opened(checkpoint)[0].read() for (checkpoint,) in found)
    return theirs.keys() == ours.keys() and all(theirs[name].equal(ours[name]) for name in ours)
