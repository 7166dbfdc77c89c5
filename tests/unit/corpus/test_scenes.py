"""Scenes: what is said of them is what is drawn, and held-out combinations stay out of training."""

import itertools

import numpy as np
import pytest

from m6.config import UserError
from m6.corpus.config import ScenesConfig, SceneShares
from m6.corpus.sources import scenes
from m6.corpus.starter import emoji_rows

CONFIG = ScenesConfig()
MANY = ScenesConfig(dyed=30, shares=SceneShares(pair=1, count=0, colour=1, colour_pair=1, triple=2))


def planned(config: ScenesConfig, split: str, count: int = 200) -> list[scenes.Scene]:
    return [scenes.plan(index, split, config, seed=3)[0] for index in range(count)]


def test_three_things_are_told_and_asked_by_their_places() -> None:
    triple = next(scene for scene in planned(MANY, "train") if scene.kind == "triple")
    a, b, c = (thing.caption for thing in triple.things)
    assert triple.text == f"左上是{a}，右上是{b}，下面是{c}"
    answers = {each["question"]: each["answer"] for each in triple.questions}
    assert (answers["左上是什么？"], answers[f"{c}在哪边？"]) == (a, "下面")
    assert triple.text not in triple.unfitting
    assert len(set(triple.unfitting)) == 4
    (top, _), (_, right), (_, low) = scenes.SLOTS[3][0], scenes.SLOTS[3][1], scenes.SLOTS[3][2]
    assert max(top, right) < 0.5 < low


@pytest.mark.parametrize("config", [CONFIG, MANY], ids=["plain", "many"])
def test_no_pair_number_or_hue_stands_in_both_splits(config: ScenesConfig) -> None:
    def combinations(scene: scenes.Scene) -> set[str]:
        names = sorted({thing.name for thing in scene.things})
        pairs = {"+".join(pair) for pair in itertools.combinations(names, 2)}
        hues = {thing.caption for thing in scene.things if thing.hue}
        return pairs | hues | ({scene.text} if scene.kind == "count" else set())

    trained = set().union(*map(combinations, planned(config, "train", 2_000)))
    for scene in planned(config, "heldout"):
        assert combinations(scene) - trained


def test_kinds_come_in_their_shares_and_only_some_things_are_dyed() -> None:
    found = planned(MANY, "train", 500)
    kinds = [scene.kind for scene in found]
    assert {kind: round(kinds.count(kind) / 500, 1) for kind in set(kinds)} == {
        "pair": 0.2, "triple": 0.4, "colour": 0.2, "colour_pair": 0.2,
    }  # fmt: skip
    dyed = {thing.name for scene in planned(CONFIG, "train", 500) for thing in scene.things if thing.hue}
    assert dyed == set(list(scenes.DYEABLE.values())[:10])


def test_no_scene_shows_a_picture_that_is_held_out() -> None:
    split = {row["name"]: row["split"] for row in emoji_rows()}
    assert {split[name] for name in (*scenes.THINGS, *scenes.DYEABLE)} == {"train"}


def test_names_of_dyed_things_are_their_own() -> None:
    assert len(set(scenes.DYEABLE.values())) == len(scenes.DYEABLE)
    ScenesConfig(dyed=len(scenes.DYEABLE))
    with pytest.raises(UserError, match="less than or equal"):
        ScenesConfig(dyed=len(scenes.DYEABLE) + 1)


def test_every_picture_that_a_scene_may_show_is_bundled_and_takes_its_hue() -> None:
    pictures = scenes.cut_outs()
    assert set(scenes.THINGS) | set(scenes.DYEABLE) <= set(pictures)
    for name in scenes.DYEABLE:
        blue = np.array(scenes.dye(pictures[name], scenes.HUES["蓝色"])).astype(int)
        inside = blue[..., 3] > 128
        coloured = inside & (np.ptp(blue[..., :3], axis=-1) > 60)
        assert coloured.sum() > 0.2 * inside.sum(), name
        assert (blue[coloured][:, :3].argmax(-1) == 2).mean() > 0.9, name
