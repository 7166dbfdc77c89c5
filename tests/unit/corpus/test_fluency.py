"""Fluency: the model against slow references, files and commands, and that it tells fluent text from garbled."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import re
import sys
import types
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.starter import poem_rows
from m6.corpus.text import fluency
from m6.corpus.text.fluency import EMBEDDED, FluencyModel, perplexities, perplexity, train
from m6.corpus.text.fluency.__main__ import main
from m6.corpus.text.fluency.figures import (
    area_under_curve,
    keywords,
    random_characters,
    shuffled,
    shuffled_pairs,
    wrongly_decoded,
)
from m6.corpus.text.fluency.model import LATIN, NO_SHARE, SHARE_STEPS, START, UNKNOWN, UNKNOWN_CHARACTERS, HashTable

MODERN = """
昨天晚上下了一场大雨，今天早上路上到处都是积水，上班的人只好绕道走。
这款手机的屏幕很清晰，电池也耐用，就是拍照的时候反应有点慢。
公司决定从下个月开始，每周三允许员工在家办公，具体安排由各部门自行决定。
他在图书馆里坐了一下午，终于把那篇论文的初稿写完了。
专家提醒，夏季高温时应多喝水，避免长时间在户外活动，以免中暑。
孩子们放学以后在小区的操场上踢足球，一直玩到天黑才回家。
我们乘坐高铁从北京到上海只用了四个多小时，比以前方便多了。
医生说这种药一天吃三次，每次两片，饭后用温水送服。
新建的地铁线路预计明年年底通车，将把机场和市中心连接起来。
妈妈做的红烧肉特别香，邻居闻到味道都跑来问是怎么做的。
研究人员发现，经常锻炼的人睡眠质量更好，注意力也更集中。
这部电影的画面很美，但是故事有些拖沓，看到一半我就睡着了。
请在提交表单之前检查您的电子邮件地址是否正确，否则将无法收到确认信。
由于天气原因，原定今天下午起飞的航班推迟到明天上午，请旅客留意广播通知。
他从小就喜欢画画，长大以后成了一名设计师，为很多书设计过封面。
随着互联网的发展，越来越多的人选择在网上购物，实体店的生意受到了影响。
这家餐厅的服务态度很好，菜的分量也足，价格却不贵，值得推荐。
据统计，去年全市新增就业人口十二万人，失业率比前年下降了零点三个百分点。
如果程序在启动时报错，可以先查看日志文件，再根据错误信息修改配置。
周末我打算和几个朋友去爬山，顺便在山脚下的农家乐吃顿午饭。
""".strip().split("\n")
SPAM = """
连衣裙 女装 新款 夏季 韩版 修身 显瘦 包邮 雪纺 短袖 碎花 中长款 大码 批发
北京搬家公司 上海搬家公司 广州搬家公司 深圳搬家 成都搬家电话 重庆搬家价格 武汉搬家
手机壳|钢化膜|数据线|充电宝|蓝牙耳机|自拍杆|移动电源|车载支架|苹果|华为|小米
免费小说 全文阅读 最新章节 无弹窗 玄幻 言情 穿越 重生 都市 武侠 txt下载 排行榜
""".strip().split("\n")
GARBLED = ["", "。", "第12345章　　abc  ABC", "😀龘龘龘", "\x00\ud800", "Hello, 世界！", "a\n\n1\n\n2", " 空 格 "]


def poems(number: int) -> list[str]:
    return ["\n".join("".join(couplet) for couplet in row["couplets"]) for row in poem_rows()[:number]]


@pytest.fixture(scope="module")
def model() -> FluencyModel:
    return FluencyModel.load(EMBEDDED)


@pytest.fixture(scope="module")
def small() -> FluencyModel:
    return train(poems(200))


class Reference:
    """The same model in plain Python: dicts, floats, one character at a time."""

    def __init__(self, model: FluencyModel) -> None:
        parts = model.parts
        self.symbols = {chr(code): number for number, code in enumerate(parts.characters) if number > START}
        self.symbols |= {chr(old): self.symbols[chr(new)] for old, new in parts.folds.tolist()}
        seen = [0 if symbol == START else count + 1 for symbol, count in enumerate(parts.counts.tolist())]
        self.first = [count / sum(seen) for count in seen]
        self.first[UNKNOWN] /= UNKNOWN_CHARACTERS
        self.shares: dict[tuple[int, ...], dict[int, float]] = {}
        bigrams = []
        for symbol, last, share in self._spread(parts.fans_2, parts.symbols_2, parts.shares_2):
            self.shares.setdefault((symbol,), {})[last] = share
            bigrams.append((symbol, last))
        for row, last, share in self._spread(parts.fans_3, parts.symbols_3, parts.shares_3):
            self.shares.setdefault(bigrams[row], {})[last] = share
        self.rests = {context: 1 - sum(shares.values()) for context, shares in self.shares.items()}

    @staticmethod
    def _spread(fans: np.ndarray, symbols: np.ndarray, steps: np.ndarray) -> list[tuple[int, int, float]]:
        firsts = [number for number, fan in enumerate(fans.tolist()) for _ in range(fan)]
        shares = [0.0 if step == NO_SHARE else 2 ** (-step / SHARE_STEPS) for step in steps.tolist()]
        return list(zip(firsts, symbols.tolist(), shares, strict=True))

    def probability(self, symbol: int, context: tuple[int, ...]) -> float:
        if not context:
            return self.first[symbol]
        lower = self.probability(symbol, context[1:])
        return self.shares.get(context, {}).get(symbol, 0.0) + self.rests.get(context, 1.0) * lower

    def perplexity(self, text: str) -> float:
        symbols = [START, START]
        for place, character in enumerate(text):
            symbol = self.symbols.get(character, UNKNOWN)
            if place == 0 or symbol != symbols[-1] or symbol > LATIN or symbol < 2:
                symbols.append(symbol)
        if len(symbols) == 2:
            return math.inf
        logs = [
            math.log(self.probability(s, (u, v))) for u, v, s in zip(symbols, symbols[1:], symbols[2:], strict=False)
        ]
        return math.exp(-sum(logs) / len(logs))


def test_perplexity_is_that_of_a_slow_reference(small: FluencyModel) -> None:
    reference = Reference(small)
    texts = [*GARBLED, *MODERN, *SPAM, *poems(230)[190:], "".join(poems(20))]
    expected = [reference.perplexity(text) for text in texts]
    assert np.allclose(small.perplexities(texts), expected, rtol=1e-6)


@pytest.mark.parametrize("context", ["", "春", "不知", "明月", "，不", "。\n", "龘龘", "春龘"])
def test_the_probabilities_after_a_context_sum_to_one(model: FluencyModel, context: str) -> None:
    table = {chr(code): number for number, code in enumerate(model.parts.characters)}
    before = [START, START, *(table.get(character, UNKNOWN) for character in context)][-2:]
    number = len(model.parts.characters)
    stream = np.array([[*before, symbol] for symbol in range(number)], np.uint16)
    probabilities = np.exp(model.log_probabilities(stream.ravel())[::3] / 2**22)
    probabilities[UNKNOWN] *= UNKNOWN_CHARACTERS
    probabilities[START] = 0  # never drawn
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert probabilities.max() < 0.95


def test_training_is_kneser_ney() -> None:
    """Against the formulas (Chen and Goodman, 1999) on sets and dicts."""
    texts = poems(300)
    model = train(texts, fewest=1)
    symbol = {chr(code): number for number, code in enumerate(model.parts.characters) if code}
    symbol |= {chr(old): symbol[chr(new)] for old, new in model.parts.folds.tolist()}
    trigrams: Counter[tuple[int, ...]] = Counter()
    for text in texts:
        symbols = [START, START, *(symbol[character] for character in re.sub(r"\s+", " ", text))]
        trigrams.update(zip(symbols, symbols[1:], symbols[2:], strict=False))
    bigrams = Counter(trigram[1:] for trigram in trigrams)
    unigrams = Counter(bigram[1:] for bigram in bigrams)
    assert {(number,): count for number, count in enumerate(model.parts.counts.tolist()) if count} == unigrams
    reference = Reference(model)
    for counts in (bigrams, trigrams):
        of = Counter(counts.values())
        base = of[1] / (of[1] + 2 * of[2])
        discounts = [0.0, *(n - (n + 1) * base * of[n + 1] / of[n] for n in (1, 2, 3))]
        sums: defaultdict[tuple[int, ...], int] = defaultdict(int)
        for ngram, count in counts.items():
            sums[ngram[:-1]] += count
        for ngram, count in counts.items():
            share = (count - discounts[min(count, 3)]) / sums[ngram[:-1]]
            stored = reference.shares[ngram[:-1]][ngram[-1]]
            assert share * 2 ** (-1 / SHARE_STEPS) * 0.999 < stored < share * 1.001


def test_a_text_scores_the_same_alone_and_among_others(model: FluencyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*MODERN, *GARBLED, *poems(30), "".join(MODERN * 20)]
    together = model.perplexities(texts)
    monkeypatch.setattr("m6.corpus.text.fluency.model.WINDOW", 7)
    monkeypatch.setattr("m6.corpus.text.fluency.model.BATCH", 100)
    assert model.perplexities(texts).tolist() == together.tolist()
    assert [perplexity(text) for text in texts] == together.tolist()


def test_both_scripts_and_widths_score_the_same() -> None:
    assert perplexity("滾滾長江東逝水，浪花淘盡英雄！") == perplexity("滚滚长江东逝水,浪花淘尽英雄!")
    assert perplexity("共１２３页　ＡＢＣ") == perplexity("共9页 x")


def test_nothing_has_no_perplexity() -> None:
    assert perplexity("") == math.inf
    assert perplexities([]).shape == (0,)
    assert perplexities(["", "春眠不觉晓", ""])[[0, 2]].tolist() == [math.inf, math.inf]


@pytest.mark.parametrize(
    ("garbling", "least"),
    [(shuffled, 0.99), (shuffled_pairs, 0.93), (keywords, 0.97), (wrongly_decoded, 1.0), (random_characters, 1.0)],
)
def test_fluent_scores_lower_than_garbled(garbling: object, least: float) -> None:
    chance = random.Random(1)
    texts = [*MODERN, *(text for row, text in zip(poem_rows(), poems(10_000), strict=True) if row["split"] != "train")]
    texts = texts[:120]
    garbled = [garbling(text, chance) for text in texts]  # type: ignore[operator]
    assert area_under_curve(perplexities(texts), perplexities(garbled)) >= least


def test_the_suggested_threshold_keeps_modern_sentences_and_finds_what_is_no_text() -> None:
    chance = random.Random(2)
    assert perplexities(MODERN).max() < 1_000 < perplexities(SPAM).min()
    assert (perplexities(SPAM) > 1_500).sum() == 3
    assert perplexities([wrongly_decoded(text, chance) for text in MODERN]).min() > 1_500
    assert (perplexities([shuffled(text, chance) for text in MODERN]) > 1_500).mean() > 0.5


def test_the_area_under_the_curve_by_hand() -> None:
    assert area_under_curve(np.array([1.0, 2.0]), np.array([3.0, 1.5, 2.0])) == pytest.approx((2 + 1 + 1.5) / 6)


@given(st.lists(st.integers(0, 2**63), unique=True, max_size=300), st.lists(st.integers(0, 2**63), max_size=30))
def test_a_hash_table_finds_what_a_dict_finds(keys: list[int], others: list[int]) -> None:
    rows = {key: row for row, key in enumerate(keys)}
    asked = [*keys, *others, *(key + 1 for key in keys)]
    found = HashTable(np.array(keys, np.uint64)).find(np.array(asked, np.uint64))
    assert found.tolist() == [rows.get(key, len(keys)) for key in asked]


def test_a_file_gives_the_same_model_and_the_same_model_the_same_bytes(small: FluencyModel, tmp_path: Path) -> None:
    small.save(tmp_path / "one.npz")
    FluencyModel.load(tmp_path / "one.npz").save(tmp_path / "two.npz")
    train(iter(poems(200))).save(tmp_path / "three.npz")
    data = (tmp_path / "one.npz").read_bytes()
    assert data == (tmp_path / "two.npz").read_bytes() == (tmp_path / "three.npz").read_bytes()
    assert perplexities(MODERN, str(tmp_path / "one.npz")).tolist() == small.perplexities(MODERN).tolist()


def test_fewer_ngrams_are_a_smaller_model_that_is_a_distribution_still(small: FluencyModel) -> None:
    few = train(poems(200), most=2_000)
    kept = len(few.parts.symbols_2) + len(few.parts.symbols_3)
    assert 1_900 < kept < 2_600  # with the bigrams that the trigrams begin with
    assert np.allclose(few.perplexities(MODERN), [Reference(few).perplexity(text) for text in MODERN], rtol=1e-6)
    known = poems(200)
    assert (
        small.perplexities(known).mean()
        < few.perplexities(known).mean()
        < train(known, most=10).perplexities(known).mean()
    )


def test_rare_trigrams_are_forgotten_when_memory_is_short() -> None:
    texts = ["白日依山尽，黄河入海流。"] * 5 + poems(100)
    model = train(texts, most_in_memory=500)
    assert len(model.parts.symbols_3) <= 500
    assert model.perplexities(texts[:1])[0] < 10


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.npz", None, "there is no such file"),
        ("short.npz", 20_000, "no whole file"),
        ("page.npz", b"<html>404</html>", "no whole file"),
        ("empty.npz", b"", "no whole file"),
        ("model.txt", b"", "has to end in .npz"),
    ],
)
def test_a_file_that_is_no_model_is_one_clear_line(
    name: str, content: bytes | int | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(EMBEDDED.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(UserError, match=words) as error:
        perplexity("春眠不觉晓", str(path))
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_arrays_that_do_not_fit_together_are_refused(small: FluencyModel, tmp_path: Path) -> None:
    changed = copy.copy(small)
    changed.parts = small.parts._replace(fans_3=small.parts.fans_3 + 1)
    changed.save(tmp_path / "changed.npz")
    with pytest.raises(UserError, match="do not fit together"):
        FluencyModel.load(tmp_path / "changed.npz")


def test_the_embedded_model_is_the_one_of_its_notice() -> None:
    data = EMBEDDED.read_bytes()
    assert len(data) < 1.5e6
    assert hashlib.sha256(data).hexdigest() in EMBEDDED.with_name("NOTICE").read_text(encoding="utf-8")


def test_the_command_trains_on_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.dumps({"content": text}, ensure_ascii=False) for text in poems(300)]
    (tmp_path / "clean.jsonl").write_text("\n".join([*rows, "{broken", '{"other": 1}']), encoding="utf-8")
    command = ["--paths", str(tmp_path / "clean.jsonl"), "--out", str(tmp_path / "own.npz"), "--text-field", "content"]
    assert main(command) == 0
    output = capsys.readouterr()
    assert "trigrams" in output.out
    assert "2 records were left out" in output.err
    assert perplexity("床前明月光", str(tmp_path / "own.npz")) < 10_000


@pytest.mark.parametrize(
    ("paths", "out", "words"),
    [
        ("none.jsonl", "own.npz", "none.jsonl"),
        ("empty.jsonl", "own.npz", "no texts"),
        ("empty.jsonl", "own.bin", "ends in .npz"),
        ("empty.jsonl", "none/own.npz", "in a folder that is there"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    paths: str, out: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["--paths", str(tmp_path / paths), "--out", str(tmp_path / out)]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / out).exists()


ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.6\t天\t-0.2
-0.9\t地

\\2-grams:
-0.1\t<s> 天
-0.3\t天 地

\\end\\
"""


def test_a_kenlm_model_scores_characters(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    (tmp_path / "own.arpa").write_text(ARPA, encoding="utf-8")
    scores = perplexities(["天地", "天 天", "", "人"], str(tmp_path / "own.arpa"))
    expected = [10 ** ((0.1 + 0.3) / 2), 10 ** ((0.1 + 0.2 + 0.6) / 2), math.inf, 10 ** (0.5 + 1.0)]
    assert scores.tolist() == pytest.approx(expected, rel=1e-5)


def test_kenlm_is_imported_only_for_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    assert perplexity("春眠不觉晓") > 1
    with pytest.raises(UserError, match=r'pip install "open-m6\[kenlm\]"'):
        perplexity("春眠不觉晓", "own.arpa")


def test_kenlm_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise OSError("Cannot read model 'own.klm'\nin file search.cc")

    monkeypatch.setitem(sys.modules, "kenlm", types.SimpleNamespace(Model=fail))
    with pytest.raises(UserError, match=r"KenLM cannot read it: Cannot read model 'own\.klm'$"):
        fluency.perplexity("春眠不觉晓", "own.klm")
