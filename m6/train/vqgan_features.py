"""Where features of pictures come from: a small network taught here, as the first part of the stage, or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.config import UserError
from m6.data.loader import batches
from m6.data.pictures import PictureBatch, Pictures, to_tensor
from m6.model.crops import load_vision_model
from m6.model.vision_folder import VisionFolder
from m6.model.weights import load_weights, newest, sha256
from m6.train.config import LoopConfig, OptimizerConfig, VQGANStage
from m6.train.hardware import choose_device
from m6.train.loop import Task, train
from m6.train.vqgan_encode import weights_digest
from m6.train.window import Figures
from m6.vqgan.features import FeatureNet, two_views_loss

RATES = OptimizerConfig(learning_rate=2e-3, muon_learning_rate=0.0, schedule=((0.0, 0.0), (0.1, 1.0), (1.0, 0.02)))


@dataclass
class Features:
    """A frozen network of features, and what it is known by."""

    net: FeatureNet | FolderFeatures
    source: str
    digest: str
    """SHA-256 of its weights."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps of features [B, C, h, w] of images [B, 3, S, S'] in -1 to 1."""
        found: list[Tensor] = self.net(images)
        return found

    def pooled(self, images: Tensor) -> Tensor:
        """One vector a picture, [B, D] float32."""
        return self.net.pooled(images)

    def on(self, device: str) -> Features:
        """The same, on a device."""
        self.net.to(device)
        return self


def features_of(stage: VQGANStage, corpus: Path, folder: Path, about: dict[str, Any], seed: int) -> Features | None:
    """The features that a stage asks for, on its device; its own are taught first, in `features` of its folder."""
    config = stage.features
    if config.source == "none":
        return None
    net: FeatureNet | FolderFeatures
    if config.source == "own":
        teach(stage, corpus, folder / "features", about, seed)
        net = FeatureNet()
        load_weights(newest(folder / "features", "vqgan"), net)
        digest = weights_digest(folder / "features")
    else:
        net, digest = from_folder(config.folder)
    net.requires_grad_(False).eval()
    return Features(net, config.source, digest).on(choose_device(stage.loop.device).type)


def teach(stage: VQGANStage, corpus: Path, folder: Path, about: dict[str, Any], seed: int) -> None:
    """Trains a network of features on the pictures of a corpus, up to its last update; goes on if it was stopped."""
    config = stage.features
    pictures = Pictures(corpus, config.batch_size, seed, stage.crop)
    torch.manual_seed(seed)
    net: FeatureNet = FeatureNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(batch: PictureBatch, _: Tensor | None) -> tuple[Tensor, Figures]:
        images = to_tensor(batch.pixels).to(next(net.parameters()).device)
        found, share = two_views_loss(net, images, torch.Generator().manual_seed(seed * 2**32 + batch.step))
        return found, {"found": (share, 1.0)}

    task = Task(
        model=net,
        loss=loss,
        batches=lambda start, stop, workers: batches(pictures, start, stop, workers),
        counts=lambda batch: {"tokens": len(batch.ids)},
        weight=lambda batch: torch.ones(()),
        describe=lambda batch: batch.ids,
        skipped=lambda batch: batch.skipped,
        num_documents=lambda step: step * config.batch_size,
        max_skipped=stage.max_skipped,
    )
    kept = stage.loop.model_dump(include={"device", "precision", "num_threads", "num_workers", "max_skipped"})
    loop = LoopConfig(num_steps=config.num_steps, checkpoint_every=100, keep_checkpoints=1, optimizer=RATES, **kept)
    train(task, loop, folder, "features", about)


class FolderFeatures(nn.Module):
    """A vision model of transformers, at the size and with the normalisation that its folder tells."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, about: VisionFolder) -> None:
        """model: [N, 3, side, side] normalised to what transformers returns."""
        super().__init__()
        self.model, self.side = model, about.side
        self.register_buffer("mean", torch.tensor(about.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(about.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps of all its layers: those of a ResNet [B, C, h, w], tokens of a transformer as [B, C, T, 1]."""
        states = self._out(images).hidden_states
        return [state if state.dim() == 4 else state.mT[..., None] for state in states]

    def pooled(self, images: Tensor) -> Tensor:
        """Its pooled features [B, D], or the mean of its last tokens."""
        out = self._out(images)
        pooled: Tensor | None = getattr(out, "pooler_output", None)
        return (out.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)).float()

    def _out(self, images: Tensor) -> Any:
        squares = F.interpolate(images.float(), (self.side, self.side), mode="bilinear", antialias=True)
        levels = (squares + 1) / 2
        return self.model(pixel_values=(levels - self.mean) / self.std, output_hidden_states=True)


def from_folder(folder: str) -> tuple[FolderFeatures, str]:
    """The vision model of a folder, and the digest of its weights. UserError for a folder that holds none."""
    try:
        about = VisionFolder.read(folder)
        model = load_vision_model(folder).model
    except UserError as error:  # told in the words of another field
        said = str(error).replace("model.crops.folder", "vqgan.features.folder")
        raise UserError(said.replace("model.stem 'crops'", "vqgan.features")) from None
    files = sorted(Path(folder).glob("*.safetensors"))
    return FolderFeatures(model, about), sha256(files[0])
