"""Losses: each by hand or against its plain form; the adaptive weight, and who gets which gradient."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.train.config import VQGANStage
from m6.train.vqgan_features import from_folder
from m6.vqgan.config import FeaturesConfig, LossConfig, VQGANConfig
from m6.vqgan.features import FeatureNet, two_views_loss
from m6.vqgan.losses import Losses, PatchDiscriminator, feature_distance, hinge
from m6.vqgan.model import VQGAN
from tests.unit.vision_models import make_folder

CONFIG = LossConfig(l1=0.3, perceptual=0.5, discriminator=0.8, discriminator_start=10, discriminator_channels=8)


def parts() -> tuple[VQGAN, FeatureNet, PatchDiscriminator, Tensor]:
    torch.manual_seed(0)
    model, images = VQGAN(VQGANConfig(channels=(8, 12))), torch.rand(3, 3, 32, 32) * 2 - 1
    return model, FeatureNet().requires_grad_(False), PatchDiscriminator(8, 2), images


def test_one_way_back_gives_the_gradients_of_the_plain_form() -> None:
    """The plain form: two gradients at the last layer for the weight, then the weighted sum gone back through."""
    model, features, discriminator, images = parts()
    losses = Losses(CONFIG, model.last_layer, features, discriminator)
    restored, _, auxiliary = model(images)
    loss, told = losses(images, restored, auxiliary, step=10)
    loss.backward()
    found = [weight.grad for weight in model.parameters()]
    assert all(weight.grad is None for weight in [*discriminator.parameters(), *features.parameters()])

    model.zero_grad()
    restored, _, auxiliary = model(images)
    error = restored - images
    near = error.square().mean() + 0.3 * error.abs().mean()
    near = near + 0.5 * feature_distance(features(restored), features(images))
    real = -discriminator(restored).mean()
    last = model.last_layer.weight
    norms = [torch.autograd.grad(each, last, retain_graph=True)[0].norm() for each in (near, real)]
    weight = 0.8 * norms[0] / (norms[1] + 1e-4)
    plain = near + weight.detach() * real + auxiliary
    plain.backward()
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(told["discriminator_weight"], weight)
    for own, expected in zip(found, (weight.grad for weight in model.parameters()), strict=True):
        assert own is not None
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-6)


def test_the_discriminator_joins_late_and_learns_alone() -> None:
    model, features, discriminator, images = parts()
    losses = Losses(CONFIG, model.last_layer, features, discriminator)
    restored, _, auxiliary = model(images)
    _, told = losses(images, restored, auxiliary, step=9)
    assert set(told) == {"loss/perceptual"}
    assert losses.against() is None
    losses(images, restored, auxiliary, step=10)
    answer = losses.against()
    assert answer is not None
    answer[0].backward()
    assert all(weight.grad is None for weight in model.parameters())
    assert all(weight.grad is not None for weight in discriminator.parameters())
    assert losses.against() is None, "each batch is answered once"


def test_a_discriminator_learns_to_tell_blurred_from_sharp() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8, 2)
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=2e-3)
    for _ in range(40):
        sharp = torch.rand(8, 3, 32, 32).round() * 2 - 1
        blurred = nn.functional.avg_pool2d(sharp, 3, 1, 1)
        loss = hinge(discriminator(sharp), discriminator(blurred))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3  # 1 where nothing is known


def test_hinge_by_hand() -> None:
    assert float(hinge(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0]))) == pytest.approx(0.5 * (0.25 + 0.5))


def test_distance_of_features_by_hand() -> None:
    """Directions count, lengths do not: a right angle is 2 away, the opposite 4."""
    one = torch.tensor([[1.0, 0.0], [5.0, 0.0]]).T.reshape(1, 2, 1, 2)
    other = torch.tensor([[0.0, 2.0], [-1.0, 0.0]]).T.reshape(1, 2, 1, 2)
    assert float(feature_distance([one], [other])) == pytest.approx(3.0)
    assert float(feature_distance([one, one], [3 * one, other])) == pytest.approx(1.5)


def test_views_of_a_picture_are_drawn_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    net, images = FeatureNet(), torch.rand(4, 3, 96, 96) * 2 - 1
    found = []
    for _ in range(2):
        torch.rand(3)
        found.append(two_views_loss(net, images, torch.Generator().manual_seed(7))[0])
    assert torch.equal(*found)
    assert not torch.equal(found[0], two_views_loss(net, images, torch.Generator().manual_seed(8))[0])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LossConfig(l1=0, l2=0), "l2, l1 and perceptual are all 0"),
        (lambda: FeaturesConfig(source="folder"), "source 'folder' and folder '' do not go together"),
        (lambda: FeaturesConfig(source="own", folder="x"), "source 'own' and folder 'x' do not go together"),
        (lambda: VQGANStage(losses={"perceptual": 1}), "losses.perceptual compares features"),
        (lambda: VQGANStage(grid_every=15), "grid_every 15 is not a multiple of loop.log_every 10"),
    ],
)
def test_what_does_not_go_together_is_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(UserError, match=said):
        make()


def test_features_of_a_vision_model_from_a_folder(tmp_path: Path) -> None:
    for kind in ("resnet", "vit"):
        folder = make_folder(tmp_path / kind, kind)
        net, digest = from_folder(str(folder))
        images = torch.rand(2, 3, 48, 48, requires_grad=True)
        maps = net(images)
        assert len(digest) == 64
        assert all(each.dim() == 4 and len(each) == 2 for each in maps)
        assert net.pooled(images).shape == (2, 16)
        assert feature_distance(maps, net(images)).item() == 0
        feature_distance(maps, [each.detach() for each in net(images.flip(3))]).backward()
        assert images.grad is not None
        assert images.grad.abs().sum() > 0
    with pytest.raises(UserError, match=r"vqgan.features.folder: .*config.json cannot be read"):
        from_folder(str(tmp_path))
