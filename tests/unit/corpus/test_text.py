"""Text: every rule by its reason, what is cleaned, and where pictures stand afterwards."""

from __future__ import annotations

import random
import sys
from collections import Counter
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import EmojiConfig, PoemsConfig, TextRules
from m6.corpus.document import Document, Image, make_document
from m6.corpus.starter import emoji_rows, poem_rows
from m6.corpus.text.normalise import normalise
from m6.corpus.text.passage import NUM_KINDS, Passage
from m6.corpus.text.rules import RULES, check, clean, rules_exist
from m6.corpus.text.safety import PHONE

POEM = "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"
SENTENCE = "早上去了趟菜市场，买了两斤青菜和一条鱼，回来的路上遇到老王，聊了几句家常。"


def reason(text: str, rules: TextRules | None = None, title: str = "") -> str | None:
    result = clean(make_document("jsonl", text, title=title), rules or TextRules())
    return result if isinstance(result, str) else None


def cleaned(document: Document, rules: TextRules | None = None) -> Document:
    result = clean(document, rules or TextRules())
    assert not isinstance(result, str), result
    return result


CASES = [
    ("静夜思一首", POEM, None),
    ("", POEM, None),  # no title is no short title
    ("静夜思一首", "", "empty text"),
    ("静夜思", POEM, "short title"),
    ("静夜思一首", "床前明月光，疑是地上霜。", "short text"),
    ("静夜思一首", POEM + "\ufffd", "broken characters"),
    ("静夜思一首", POEM + "锟斤拷锟斤拷", "broken characters"),
    ("静夜思一首", SENTENCE.encode().decode("gb18030", "replace").replace("\ufffd", ""), "broken characters"),
    ("静夜思一首", SENTENCE.encode().decode("latin-1"), "broken characters"),
    ("静夜思一首", "".join(map(chr, range(0x4E00, 0x9000))) * 6, "long text"),
    ("静夜思一首", "The quick brown fox jumps over the lazy dog 狐狸", "not Chinese"),
    ("静夜思一首", "。，；！？。，；！？。，；！？。，；！？", "not Chinese"),
    ("静夜思一首", "東京は朝から雨が降っています。傘を持って出かけたほうがよいでしょう。", "Japanese"),
    ("静夜思一首", "大韓民國은 民主共和國이다. 모든 權力은 國民으로부터 나온다.", "Korean"),
    ("静夜思一首", "表示感谢说“ありがとう”，更郑重的说法在后面加上“ございます”，可以对长辈说。", None),
    ("静夜思一首", "楼主一生平安\n楼主一生平安\n沙发\n楼主一生平安", "repeated lines"),
    ("静夜思一首", "楼主一生平安\n沙发\n祝福大家的朋友\n第一个不同的行", None),
    ("静夜思一首", SENTENCE * 2, "repeated words"),
    ("静夜思一首", "北京租车 北京租车公司 北京租车价格 北京租车电话 北京租车网站", "repeated words"),
    ("静夜思一首", "采采芣苢，薄言采之。采采芣苢，薄言有之。\n采采芣苢，薄言掇之。采采芣苢，薄言捋之。", None),
    ("静夜思一首", "加微信abc12345领取资料，诚招代理，一件代发，欢迎咨询。", "advertising"),
    ("静夜思一首", "首页 | 新闻中心 | 联系我们\n版权所有 © 2020 某某网络 京ICP备12345678号", "boilerplate"),
    ("静夜思一首", "啊？！、。；“”（）【】，。、；：是？！、。；“”（）【】吗，。、；：？", "too many marks"),
    ("静夜思一首", "◆好◇消◆息◇大◆家◇快◆来◇看◆一◇看◆啊◇朋◆友", "too many symbols"),
    ("静夜思一首", "张三 62880013\n李四 62880014\n王五 62880015", "too many digits"),
    (
        "静夜思一首",
        "会议要求各部门认真……\n暴雨袭城多处积水……\n著名歌手下月来本市……\n专家提醒注意预防……",
        "too many ellipses",
    ),
    ("静夜思一首", "• 清晨的菜市场\n• 一个木匠的四十年\n• 河流改道之后\n• 最后的修表铺", "too many bullets"),
    ("静夜思一首", "小学 初中 高中 大学 考研 教师 会计 建筑 医学 法律", "menu"),
    ("静夜思一首", "六合彩、时时彩、百家乐，二十四小时客服在线，稳定可靠。", "sensitive words"),
    ("静夜思一首", "警察在书里读到百家乐，又读到六合彩，合上书叹了一口气。", None),
]


@pytest.mark.parametrize(("title", "text", "expected"), CASES)
def test_rules(title: str, text: str, expected: str | None) -> None:
    assert reason(text, title=title) == expected


def test_every_rule_has_a_case() -> None:
    """A rule that never drops anything here is not tested; perplexity is, below."""
    dropped = {
        name for title, text, _ in CASES for name in RULES if reason(text, TextRules(rules=(name,)), title=title)
    }
    assert dropped == set(RULES) - {"not_fluent"} == set(TextRules().rules) - {"not_fluent"}


def test_a_recipe_chooses_its_rules() -> None:
    assert reason("短", title="短") == "short title"
    assert reason("短", TextRules(rules=("no_text",)), title="短") is None
    assert check(Passage("短", "短"), TextRules()) == "short title"
    with pytest.raises(UserError, match="no text rule 'short_txt', did you mean 'short_text'"):
        rules_exist(["no_text", "short_txt"])


def test_bundled_texts_all_stay() -> None:
    """Each as it was, but for ！！ in the name of an emoji."""
    for row in poem_rows()[::7]:
        poem = make_document("poems", "\n".join(row["couplets"]), title=row["title"])
        assert clean(poem, PoemsConfig().text) == poem
    changed = []
    for row in emoji_rows():
        emoji = make_document("emoji", "。".join([row["name"], "、".join(row["keywords"][:5])]), title=row["name"])
        if cleaned(emoji, EmojiConfig().text) != emoji:
            changed.append(row["name"])
    assert changed == ["双感叹号"]


def test_title_and_text_are_normalised() -> None:
    document = cleaned(make_document("jsonl", f"<p>{POEM}</p>\n！！\u200b", title="静夜思\n一首\u3000诗"))
    assert (document["title"], document["text"]) == ("静夜思 一首 诗", POEM + "\n！")
    document = cleaned(make_document("jsonl", "漢字與書法的歷史，從甲骨文說起。"), TextRules(to_simplified=True))
    assert document["text"] == "汉字与书法的历史，从甲骨文说起。"


def test_boilerplate_is_cut_off_unless_the_recipe_says_no() -> None:
    text = f"{SENTENCE}\n版权所有，未经许可不得转载"
    assert cleaned(make_document("jsonl", text))["text"] == SENTENCE
    assert cleaned(make_document("jsonl", text), TextRules(cut_boilerplate=False))["text"] == text


def test_personal_data_are_masked_dropped_or_kept() -> None:
    document = make_document("jsonl", f"{SENTENCE}电话13812345678。", title="电话13812345678")
    assert cleaned(document)["text"] == f"{SENTENCE}电话{PHONE}。"
    assert cleaned(document)["title"] == f"电话{PHONE}"
    assert cleaned(document, TextRules(personal_data="keep")) == document
    assert clean(document, TextRules(personal_data="drop")) == "personal data"
    assert reason(SENTENCE, TextRules(personal_data="drop")) is None


def test_perplexity_is_asked_if_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    fluency = ModuleType("m6.corpus.text.fluency")

    def perplexity(text: str, model_path: str) -> float:
        asked.append((text, model_path))
        return 100.0

    fluency.perplexity = perplexity  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "m6.corpus.text.fluency", fluency)
    monkeypatch.setattr("m6.corpus.text.fluency", fluency, raising=False)
    assert reason(SENTENCE) is None
    assert not asked
    assert reason(SENTENCE, TextRules(largest_perplexity=100, fluency_model="m.bin")) is None
    assert reason(SENTENCE, TextRules(largest_perplexity=99)) == "not fluent"
    assert asked == [(SENTENCE, "m.bin"), (SENTENCE, "")]


def interleaved(text: str, offsets: list[int]) -> Document:
    images = [Image(bytes=bytes([n]), width=8, height=8, offset=offset) for n, offset in enumerate(offsets)]
    return make_document("pages", text, images=images)


def laid_out(document: Document) -> str:
    """The text with the number of each picture in its place."""
    text = document["text"]
    for image in sorted(document["images"], key=lambda image: (image["offset"], image["bytes"]), reverse=True):
        text = text[: image["offset"]] + f"[{image['bytes'][0]}]" + text[image["offset"] :]
    return text


def test_pictures_stay_where_they_stood() -> None:
    text = f"首页 | 登录 | 注册\n\u3000\u3000第一段：{SENTENCE}！！\n\n电话13812345678，第二段：{SENTENCE}"
    second = text.index("电话")
    document = interleaved(text, [second + 2, 0, len(text), second, text.index("第二段"), 10_000])
    assert laid_out(cleaned(document)) == (f"[1]第一段：{SENTENCE}！\n[3]电话[0]{PHONE}，[4]第二段：{SENTENCE}[2][5]")


def test_a_number_is_no_longer_one_with_a_picture_in_it() -> None:
    text = f"{SENTENCE}电话13812345678。"
    out = cleaned(interleaved(text, [text.index("2345")]))
    assert laid_out(out) == f"{SENTENCE}电话[0]{PHONE}。"  # masked as it is read, and the picture before the mark


texts = st.lists(
    st.sampled_from([*"中文字，。！！\n \u3000\u200bＡ1", "13812345678", "版权所有", "<b>", "a@b.cn", SENTENCE]),
    max_size=12,
).map("".join)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(texts, st.lists(st.integers(-2, 90), max_size=4))
def test_offsets_stay_inside_and_in_order(text: str, offsets: list[int]) -> None:
    rules = TextRules(rules=())
    out = cleaned(interleaved(text, offsets), rules)
    moved = [image["offset"] for image in out["images"]]
    assert all(0 <= offset <= len(out["text"]) for offset in moved)
    assert [image["bytes"] for image in out["images"]] == [bytes([n]) for n in range(len(offsets))]
    clipped = [min(max(offset, 0), len(text)) for offset in offsets]
    for one in range(len(offsets)):
        for other in range(len(offsets)):
            if clipped[one] <= clipped[other]:
                assert moved[one] <= moved[other]
    if not offsets:
        assert cleaned(out, rules)["text"] == out["text"]  # nothing more is changed the second time


def test_counts_and_repetition_against_plain_python() -> None:
    rng = random.Random(0)
    for _ in range(60):
        block = "".join(rng.choices("天地玄黄宇宙洪荒。，a1 \nかな한ｂ★", k=rng.randrange(0, 60)))
        passage = Passage("", block * rng.choice([1, 1, 2, 3]) + block[:20])
        kept = [c for c in passage.text if c.isalnum()]
        assert passage.num_letters == len(kept)
        assert sum(passage.counts) == len(passage.text)
        assert len(passage.counts) == NUM_KINDS
        fours = Counter("".join(kept[i : i + 4]) for i in range(len(kept) - 3))
        most = max(fours.values(), default=0)
        assert not passage.has_ngram(max(most, 1) + 1)
        assert most < 2 or passage.has_ngram(most)
        seen: set[str] = set()
        covered: set[int] = set()
        for i in range(len(kept) - 7):
            run = "".join(kept[i : i + 8])
            covered.update(range(i, i + 8) if run in seen else ())
            seen.add(run)
        for share in (0.1, 0.3, 0.45, 0.6):
            assert passage.duplicates_beyond(share) == (len(covered) > share * len(kept))


def test_normal_songs_are_not_repetitive() -> None:
    """Verse, chorus, verse, chorus, chorus of real lines; with two choruses more it is one."""
    lines = [couplet for row in poem_rows()[:30] for couplet in row["couplets"]]
    for start in range(0, 40, 8):
        chorus, first, second = ("\n".join(lines[start + i : start + i + 4]) for i in (0, 4, 8))
        assert reason("\n".join([first, chorus, second, chorus, chorus])) is None
        assert reason("\n".join([first, chorus, chorus, chorus, chorus])) == "repeated words"


def test_surrogates_and_strange_planes_are_no_trouble() -> None:
    assert cleaned(Document(**{**make_document("jsonl", ""), "text": "\ud800" + SENTENCE}))["text"] == SENTENCE
    assert reason("𠀀𠀁𠀂𠀃𠀄𠀅𠀆𠀇𠀈𠀉𠀊𠀋𠀌𠀍𠀎𠀏") is None  # rare characters are Chinese
    assert normalise("\U0010ffff") == ""
