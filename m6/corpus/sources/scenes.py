"""Scenes: real pictures composed on a canvas, with captions and answers that are exact by construction.

A small model that has seen a few hundred pictures remembers them; one that has seen combinations learns what they are
made of. Each scene lays one to four real pictures on a white square: two things side by side or one above the other,
three things, a number of one thing, or things whose hue has been changed. Wherever scenes are shown they are called
what they are: real pictures, synthetic layout.

What is held out is a combination, never a picture: some pairs of things, some numbers of a thing and some hues of a
thing occur only in held-out scenes. Scene `i` is a pure function of (seed, i), so scenes are made in any order.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from m6.corpus.config import ScenesConfig
from m6.corpus.document import Document, Image, Question, make_document
from m6.corpus.sources import Part, cut
from m6.corpus.starter import emoji_pictures, emoji_rows

SCENES_PER_PART = 1_000

THINGS: tuple[str, ...] = (
    *("企鹅", "熊猫", "青蛙", "老虎", "兔子", "大象", "猫头鹰", "章鱼", "蝴蝶", "蜜蜂", "瓢虫"),
    *("海豚", "蜗牛", "小鸡", "孔雀", "鲨鱼", "葡萄", "西瓜", "香蕉", "草莓", "樱桃", "梨"),
    *("茄子", "胡萝卜", "玉米", "西兰花", "汉堡", "披萨", "甜甜圈", "蘑菇", "向日葵", "玫瑰", "枫叶"),
    *("松树", "仙人掌", "足球", "篮球", "火箭", "飞碟", "警车", "公交车", "直升机", "灯泡", "钥匙"),
    *("锤子", "炸弹", "磁铁", "相机", "吉他", "小号", "奖杯", "礼物", "铃铛", "太阳", "冰淇淋"),
)
"""Things of the plain scenes, by the name of their picture."""
_DYEABLE = """
汽车 红心=爱心 气球 连衣裙=裙子 合上的书本=书本 电话 鱼 红灯笼=灯笼 郁金香=花 椅子 星星 牛仔裤=裤子 围巾 茶壶
手袋=提包 蝴蝶结 门 书包 钱包 伞=雨伞 女靴=靴子 鸭舌帽=帽子 图钉 灯笼椒=甜椒 拳击手套=拳套 马 龟=乌龟 皇冠
折扇=扇子 羽毛 骆驼 袋鼠 虾 蟹=螃蟹 蝙蝠 河马 猴子 公牛 蛇 鳄鱼 猫 刺猬 长颈鹿 犀牛 火烈鸟 狗 猪 鹿 松鼠 熊 狮子
水獭 蜥蜴 甲虫 公鸡 山羊 水母 毛毛虫 蝎子 乌贼 鲸鱼 霸王龙=恐龙 猛犸 驼鹿 海狸 章鱼 青蛙 海豚 蜗牛 小鸡 桃=桃子
橘子 柠檬 芒果 猕猴桃 甜瓜 青苹果=苹果 西红柿 洋葱 土豆 黄瓜 红辣椒=辣椒 花生 豌豆荚 南瓜灯=南瓜 梨 香蕉 胡萝卜
蛋=鸡蛋 饼干 月饼 芝士=奶酪 热狗 薯条 甜甜圈 枫叶 松树 仙人掌 四叶草 樱花 莲花 落叶树=大树 圣诞树 玫瑰 钥匙 锚
梯子 扫帚 齿轮 垃圾桶 铃铛 手套 火焰 水滴 弯月=月亮 音符 帐篷 合上的锁=锁 铅笔 牙刷
"""
DYEABLE = {picture: name or picture for picture, _, name in (word.partition("=") for word in _DYEABLE.split())}
"""Pictures of mostly one hue, which can be dyed, and what a scene calls them. `ScenesConfig.dyed` says how many of them
are used."""
HUES = {"红色": 0, "橙色": 28, "黄色": 50, "绿色": 120, "蓝色": 215, "紫色": 285}
"""Hues by name, degrees."""
NUMBERS = {0: "没有", 1: "一个", 2: "两个", 3: "三个", 4: "四个"}
PLACES = {"beside": ("左边", "右边"), "above": ("上面", "下面")}
CORNERS = ("左上", "右上", "下面")
"""Places of three things."""

SLOTS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.5, 0.5),),
    2: ((0.27, 0.5), (0.73, 0.5)),
    3: ((0.27, 0.27), (0.73, 0.27), (0.5, 0.73)),
    4: ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),
}
"""Centres of n things, as shares of the canvas (column, row)."""


@dataclass(frozen=True)
class Thing:
    """One thing of a scene: the picture it is cut from, its name in the caption, its hue or ''."""

    picture: str
    name: str
    hue: str = ""

    @property
    def caption(self) -> str:
        return f"{self.hue}的{self.name}" if self.hue else self.name


@dataclass(frozen=True)
class Scene:
    """What is to be drawn and said. `group` names the combination that the split is by."""

    kind: str
    things: tuple[Thing, ...]
    group: str
    text: str
    questions: tuple[Question, ...]
    unfitting: tuple[str, ...]
    upright: bool = False


def is_heldout(group: str, share: float) -> bool:
    """Whether a combination belongs to the held-out split; the same for every seed and machine."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < share * 2**32


def _other(rng: np.random.Generator, values: list[str], besides: set[str]) -> str:
    left = [value for value in values if value not in besides]
    return left[int(rng.integers(len(left)))]


def _count(name: str, number: int) -> Question:
    return Question(kind="count", question=f"有几个{name}？", answer=NUMBERS[number])


def _pair(rng: np.random.Generator, things: list[Thing], kind: str, group: str, others: list[str]) -> Scene:
    """Two things in their places; `others` are captions that could wrongly stand for one of them."""
    upright = bool(rng.random() < 0.3)
    first, second = PLACES["above" if upright else "beside"]
    a, b = (thing.caption for thing in things)
    questions = [
        Question(kind="what", question=f"{first}是什么？", answer=a),
        Question(kind="what", question=f"{second}是什么？", answer=b),
        Question(kind="where", question=f"{a}在哪边？", answer=first),
        Question(kind="where", question=f"{b}在哪边？", answer=second),
    ]
    wrong = _other(rng, others, {a, b})
    if kind == "pair":  # dyed things of one name may differ in hue, which would make a count ambiguous
        questions += [_count((a, b)[int(rng.integers(2))], 1), _count(wrong, 0)]
    unfitting = (
        f"{first}是{b}，{second}是{a}",
        f"{first}是{wrong}，{second}是{b}",
        f"{first}是{a}，{second}是{wrong}",
    )
    text = f"{first}是{a}，{second}是{b}"
    return Scene(kind, tuple(things), group, text, tuple(questions), unfitting, upright)


def plain_pair(rng: np.random.Generator, config: ScenesConfig) -> Scene:
    """Two different things; the combination is the unordered pair."""
    first, second = (THINGS[i] for i in rng.choice(len(THINGS), 2, replace=False))
    return _pair(rng, [Thing(first, first), Thing(second, second)], "pair", _pair_name(first, second), list(THINGS))


def _pair_name(first: str, second: str) -> str:
    return "pair:" + "+".join(sorted((first, second)))


def triple(rng: np.random.Generator, config: ScenesConfig) -> Scene:
    """Three different things; it is held out if any two of them are a held-out pair."""
    names = [THINGS[i] for i in rng.choice(len(THINGS), 3, replace=False)]
    group = "|".join(_pair_name(a, b) for a, b in itertools.combinations(names, 2))
    wrong = _other(rng, list(THINGS), set(names))
    questions = [
        Question(kind="what", question=f"{where}是什么？", answer=a) for where, a in zip(CORNERS, names, strict=True)
    ]
    questions += [
        Question(kind="where", question=f"{a}在哪边？", answer=where) for where, a in zip(CORNERS, names, strict=True)
    ]
    questions += [_count(names[int(rng.integers(3))], 1), _count(wrong, 0)]
    a, b, c = names
    unfitting = tuple(_corners(others) for others in ([b, a, c], [a, c, b], [wrong, b, c], [a, b, wrong]))
    things = tuple(Thing(name, name) for name in names)
    return Scene("triple", things, group, _corners(names), tuple(questions), unfitting)


def _corners(names: list[str]) -> str:
    return "，".join(f"{where}是{name}" for where, name in zip(CORNERS, names, strict=True))


def number(rng: np.random.Generator, config: ScenesConfig) -> Scene:
    """One to four of a thing; the combination is the thing and its number."""
    name = THINGS[int(rng.integers(len(THINGS)))]
    count = int(rng.integers(1, 5))
    text = f"{NUMBERS[count]}{name}"
    wrong = _other(rng, list(NUMBERS.values()), {NUMBERS[0], NUMBERS[count]})
    other = _other(rng, list(THINGS), {name})
    questions = (_count(name, count), _count(other, 0))
    unfitting = (f"{wrong}{name}", f"{NUMBERS[count]}{other}")
    return Scene("count", (Thing(name, name),) * count, f"count:{text}", text, questions, unfitting)


def _dyed(rng: np.random.Generator, config: ScenesConfig) -> Thing:
    picture = list(DYEABLE)[int(rng.integers(config.dyed))]
    return Thing(picture, DYEABLE[picture], list(HUES)[int(rng.integers(len(HUES)))])


def hue(rng: np.random.Generator, config: ScenesConfig) -> Scene:
    """One dyed thing; the combination is the thing and its hue."""
    thing = _dyed(rng, config)
    question = Question(kind="colour", question=f"{thing.name}是什么颜色？", answer=thing.hue)
    wrong_hue, wrong_name = _other(rng, list(HUES), {thing.hue}), _other(rng, dyeable(config), {thing.name})
    unfitting = (f"{wrong_hue}的{thing.name}", f"{thing.hue}的{wrong_name}")
    return Scene("colour", (thing,), f"colour:{thing.caption}", thing.caption, (question,), unfitting)


def dyeable(config: ScenesConfig) -> list[str]:
    """What scenes call the things that they show in several hues."""
    return list(DYEABLE.values())[: config.dyed]


def hue_pair(rng: np.random.Generator, config: ScenesConfig) -> Scene:
    """Two dyed things of different names. Held out if the pair of names is, or the hue of either; never both, so that
    a held-out scene tests one thing that is new."""
    first = _dyed(rng, config)
    second = _dyed(rng, config)
    while second.name == first.name:
        second = _dyed(rng, config)
    captions = [f"{shade}的{name}" for shade in HUES for name in dyeable(config)]
    group = f"{_pair_name(first.name, second.name)}|colour:{first.caption}|colour:{second.caption}"
    scene = _pair(rng, [first, second], "colour_pair", group, captions)
    colours = [
        Question(kind="colour", question=f"{thing.name}是什么颜色？", answer=thing.hue) for thing in (first, second)
    ]
    return Scene(
        scene.kind, scene.things, scene.group, scene.text, (*scene.questions, *colours), scene.unfitting, scene.upright
    )


MAKERS: dict[str, Callable[[np.random.Generator, ScenesConfig], Scene]] = {
    "pair": plain_pair,
    "count": number,
    "colour": hue,
    "colour_pair": hue_pair,
    "triple": triple,
}
"""Kinds of scenes; `ScenesConfig.shares` says how many of each."""


def plan(index: int, split: str, config: ScenesConfig, seed: int) -> tuple[Scene, np.random.Generator]:
    """The scene of that number in a split, and the generator that draws it. Draws again until it fits the split."""
    rng = np.random.default_rng((seed, int(split == "heldout"), index))
    shares = np.array([getattr(config.shares, kind) for kind in MAKERS])
    make = list(MAKERS.values())[int(rng.choice(len(MAKERS), p=shares / shares.sum()))]
    while True:
        scene = make(rng, config)
        new = unseen(scene.group, config.heldout_share)
        if len(new) == (split == "heldout"):
            return scene, rng


def unseen(group: str, share: float) -> set[str]:
    """Which sorts of combination ("pair", "count", "colour") in a group belong to the held-out split."""
    return {part.split(":")[0] for part in group.split("|") if is_heldout(part, share)}


def dye(picture: PillowImage.Image, degrees: float) -> PillowImage.Image:
    """The picture [RGBA] with every saturated pixel turned to one hue; greys, whites and blacks stay."""
    hsv = np.array(picture.convert("RGB").convert("HSV"))
    hsv[..., 0] = round(degrees / 360 * 255)
    hsv[..., 1] = np.sqrt(hsv[..., 1] / 255.0) * 255  # pale pictures would not show their hue
    dyed = PillowImage.fromarray(hsv, "HSV").convert("RGB")
    dyed.putalpha(picture.getchannel("A"))
    return dyed


def draw(
    scene: Scene, pictures: Mapping[str, PillowImage.Image], config: ScenesConfig, rng: np.random.Generator
) -> PillowImage.Image:
    """The scene as an RGB picture. `pictures`: RGBA by name, cropped to their content."""
    canvas = PillowImage.new("RGB", (config.size, config.size), "white")
    for thing, (column, row) in zip(scene.things, SLOTS[len(scene.things)], strict=True):
        if scene.upright:
            column, row = row, column
        picture = pictures[thing.picture]
        if thing.hue:
            picture = dye(picture, HUES[thing.hue])
        scale = config.sides[int(rng.integers(len(config.sides)))] / max(picture.size)
        shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(shape, PillowImage.Resampling.LANCZOS)
        shift = rng.uniform(-config.jitter, config.jitter, 2)
        corner = [
            round((centre * config.size - side / 2 + away) / config.raster) * config.raster
            for centre, side, away in zip((column, row), shape, shift, strict=True)
        ]
        inside = [min(max(0, place), config.size - side) for place, side in zip(corner, shape, strict=True)]
        canvas.paste(picture, (inside[0], inside[1]), picture)
    return canvas


def parts(name: str, config: ScenesConfig) -> list[Part]:
    """Ranges of the scenes of each split."""
    train, heldout = config.train, config.heldout
    return [*cut(name, train, SCENES_PER_PART, "train"), *cut(name, heldout, SCENES_PER_PART, "heldout")]


def read(part: Part, config: ScenesConfig, seed: int) -> Iterator[Document]:
    """The Documents of some scenes of a split."""
    pictures = cut_outs()
    for index in range(part.start, part.stop):
        scene, rng = plan(index, part.of, config, seed)
        buffer = io.BytesIO()
        draw(scene, pictures, config, rng).save(buffer, "PNG")
        yield make_document(
            part.source,
            scene.text,
            title=scene.text,
            split=part.of,
            group=scene.group,
            images=[Image(bytes=buffer.getvalue(), width=config.size, height=config.size, offset=0)],
            questions=list(scene.questions),
            attributes={
                "kind": scene.kind,
                "unseen": "".join(unseen(scene.group, config.heldout_share)),
                "layout": "synthetic",
                "things": "\n".join(thing.caption for thing in scene.things),
                "place": "above" if scene.upright else "beside",
                "unfitting": "\n".join(scene.unfitting),
            },
        )


@functools.cache
def cut_outs() -> dict[str, PillowImage.Image]:
    """The bundled pictures that scenes use, by name: RGBA, cropped to what is not transparent."""
    pictures = emoji_pictures()
    found = {}
    for row in emoji_rows():
        if row["name"] in THINGS or row["name"] in DYEABLE:
            picture = PillowImage.open(io.BytesIO(pictures[row["file"]])).convert("RGBA")
            found[row["name"]] = picture.crop(picture.getchannel("A").getbbox())
    return found
