"""A run as a model of transformers: the same logits, the same answers, and what people do with such models."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from m6.cli import main
from m6.config import UserError
from m6.data.objectives import question_prompt
from m6.data.packing import pack
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix
from m6.generate.segments import RunSegments
from m6.model.masks import boolean_mask
from tests.unit.generate.small_engine import as_trained, next_logits
from tests.unit.interop.small_run import write_pictures, write_run
from tests.unit.vision_models import make_folder

transformers = pytest.importorskip("transformers")
QUESTION, ASKED = "图里有什么？", "海是什么颜色？"


class Exported:
    """A run, its export, and the two models."""

    def __init__(self, folder: Path) -> None:
        (folder / "run").mkdir()
        self.engine: Engine = write_run(folder / "run")
        self.run, self.folder = folder / "run", folder / "hf"
        self.pictures = write_pictures(folder, 6)
        assert main(["export", str(self.run), "--out", str(self.folder)]) == 0
        self.processor: Any = transformers.AutoProcessor.from_pretrained(self.folder)
        self.model: Any = transformers.AutoModelForImageTextToText.from_pretrained(self.folder).eval()
        self.segments = RunSegments(self.engine, self.run)

    def picture(self, number: int) -> Any:
        return self.segments.pixels(self.pictures[number].read_bytes())

    def asked(self) -> tuple[list[Prefix], list[list[dict[str, Any]]]]:
        """Requests of unequal lengths, as the engine and as transformers have them: a caption, a question about a
        picture, a question alone, a poem."""
        see = [self.engine.picture(self.picture(number)) for number in range(2)]
        prefixes: list[Prefix] = [
            (see[0],),
            (see[1], self.engine.text(QUESTION)),
            (self.engine.text(question_prompt(ASKED)),),
            (self.engine.text("五言绝句《春晓》"),),
        ]
        paths = [{"type": "image", "path": str(path)} for path in self.pictures[:2]]
        contents: list[Any] = [[paths[0]], [paths[1], {"type": "text", "text": QUESTION}], ASKED, "五言绝句《春晓》"]
        return prefixes, [[{"role": "user", "content": content}] for content in contents]

    def inputs(self, chats: Any) -> Any:
        return self.processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=True, return_dict=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("interop"))


def written(exported: Exported, inputs: Any, **settings: Any) -> list[list[int]]:
    """Ids that `generate` writes, as the engine tells them."""
    found = exported.model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]
    return [[token for token in row if token > 3] for row in found.tolist()]


def test_logits_are_those_of_the_native_model(exported: Exported) -> None:
    prefixes, _ = exported.asked()
    answer = exported.engine.text("一只红色的猫")
    texts = ["", QUESTION, question_prompt(ASKED), "五言绝句《春晓》"]
    pictures = [[str(path)] for path in exported.pictures[:2]]
    marked = [("<image>" if number < 2 else "") + text for number, text in enumerate(texts)]
    for side in ("left", "right"):
        exported.processor.tokenizer.padding_side = side
        inputs = exported.processor(images=pictures, text=marked, suffix=["一只红色的猫"] * 4)
        with torch.inference_mode():
            out = exported.model(**inputs)
        losses = []
        for row, prefix in enumerate(prefixes):
            expected = next_logits(exported.engine, prefix, answer)[:, : exported.engine.vocabulary.text_size]
            predicts = (inputs["labels"][row] != -100).roll(-1)
            torch.testing.assert_close(out.logits[row, predicts], expected, atol=1e-5, rtol=0)
            losses.append(torch.nn.functional.cross_entropy(expected, torch.tensor([*answer.ids, 3])))
        torch.testing.assert_close(out.loss, torch.stack(losses).mean())
    exported.processor.tokenizer.padding_side = "left"


@pytest.mark.parametrize(
    "changes",
    [
        {"stem": "backbone", "backbone_channels": 16},
        {"experts.num_experts": 4, "experts.top_k": 2, "experts.every": 2, "experts.capacity_factor": 1.0},
    ],
    ids=["backbone", "experts"],
)
def test_every_kind_of_model_is_read_as_it_is(changes: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    engine = write_run(tmp_path / "run", **changes)
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "hf")]) == 0
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "hf").eval()
    processor: Any = transformers.AutoProcessor.from_pretrained(tmp_path / "hf")
    (path,) = write_pictures(tmp_path, 1)
    pixels = RunSegments(engine, tmp_path / "run").pixels(path.read_bytes())
    inputs = processor(images=[str(path)] * 2, text=[QUESTION, "这是什么？"], suffix=["猫", "一只猫"])
    logits = model(**inputs).logits
    sample = as_trained((engine.picture(pixels), engine.text("这是什么？")), engine.text("一只猫"))
    batch = pack([sample], engine.vocabulary, engine.model.config.patch_grid, 0)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal)
    hidden = engine.model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at)[0]
    expected = engine.text_logits(hidden)
    torch.testing.assert_close(logits[1, -len(expected) - 1 : -1], expected, atol=1e-5, rtol=0)


def test_the_mask_is_partial(exported: Exported) -> None:
    """What stands in the prefix is seen from before it, what is written only from behind."""
    ids = exported.processor.tokenizer("海是什么颜色")["input_ids"]
    row = torch.tensor([[*ids, 300, 301]])
    hidden = exported.model(row).logits[0]
    for place, reaches in ((len(ids) - 2, 0), (len(ids), len(ids))):
        changed = row.clone()
        changed[0, place] = 310
        differs = (exported.model(changed).logits[0] - hidden).abs().amax(-1) > 1e-6
        assert int(differs.nonzero()[0]) == reaches
    assert row[0, len(ids) - 1] == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Decoding(), {}),
        (Decoding(beams=3), {"num_beams": 3}),
        (Decoding(repetition_penalty=1.0, no_repeat_ngram=0, min_tokens=9), {"min_new_tokens": 9}),
        (Decoding(), {"do_sample": True, "top_k": 1}),
    ],
    ids=["greedy", "beams", "min", "sampling"],
)
def test_answers_are_those_of_the_engine(exported: Exported, ours: Decoding, theirs: dict[str, Any]) -> None:
    prefixes, chats = exported.asked()
    expected = exported.engine.write(prefixes, 12, ours)
    assert written(exported, exported.inputs(chats), max_new_tokens=12, **theirs) == expected
    assert any(expected)
    alone = [written(exported, exported.inputs([chat]), max_new_tokens=12, **theirs)[0] for chat in chats]
    assert alone == expected


def test_sampling_follows_its_seed_and_a_cache_changes_nothing(exported: Exported) -> None:
    inputs = exported.inputs(exported.asked()[1])
    found = []
    for seed, cached in ((1, True), (1, False), (2, True)):
        transformers.set_seed(seed)
        found.append(written(exported, inputs, do_sample=True, max_new_tokens=8, use_cache=cached))
    assert found[0] == found[1] != found[2]


def test_beams_of_a_row_see_its_pictures(exported: Exported) -> None:
    images = [[str(path) for path in exported.pictures[:2]], [str(exported.pictures[2])]]
    inputs = exported.processor(images=images, text=["<image><image>有什么不同", "<image>"])
    see = [exported.engine.picture(exported.picture(number)) for number in range(3)]
    prefixes: list[Prefix] = [(see[0], see[1], exported.engine.text("有什么不同")), (see[2],)]
    expected = exported.engine.write(prefixes, 8, Decoding(beams=3))
    assert written(exported, inputs, num_beams=3, max_new_tokens=8) == expected


def test_text_alone_through_the_causal_class(exported: Exported) -> None:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(exported.folder)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(exported.folder)
    inputs = tokenizer(["五言绝句《春晓》", "猫"], padding=True, return_tensors="pt")
    found = model.generate(**inputs, max_new_tokens=10)[:, inputs["input_ids"].shape[1] :]
    prefixes: list[Prefix] = [(exported.engine.text(text),) for text in ("五言绝句《春晓》", "猫")]
    assert tokenizer.batch_decode(found, skip_special_tokens=True) == exported.engine.write_texts(prefixes, 10)
    text = "U盘、龘𠀀 <mask>"
    plain = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert plain == exported.engine.tokenizer.encode(text)


def test_pipeline(exported: Exported) -> None:
    pipe = transformers.pipeline("image-text-to-text", model=str(exported.folder))
    chat = exported.asked()[1][1]
    prefix: Prefix = (exported.engine.picture(exported.picture(1)), exported.engine.text(QUESTION))
    (expected,) = exported.engine.write_texts([prefix], 10)
    assert pipe(chat, max_new_tokens=10)[0]["generated_text"][-1] == {"role": "assistant", "content": expected}
    with Image.open(exported.pictures[1]) as picture:
        found = pipe(picture, text=QUESTION, max_new_tokens=10, return_full_text=False)
    assert found[0]["generated_text"] == expected


def test_a_folder_survives_being_saved_again(exported: Exported, tmp_path: Path) -> None:
    exported.model.save_pretrained(tmp_path / "again")
    exported.processor.save_pretrained(tmp_path / "again")
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "again")
    processor: Any = transformers.AutoProcessor.from_pretrained(tmp_path / "again")
    assert model.config.to_diff_dict() == exported.model.config.to_diff_dict()
    chat = exported.asked()[1]
    inputs = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert all(torch.equal(each, exported.inputs(chat)[name]) for name, each in inputs.items())
    torch.testing.assert_close(model(**inputs).logits, exported.model(**inputs).logits, atol=0, rtol=0)
    native = load_file(exported.folder / "model.safetensors")
    saved = load_file(tmp_path / "again" / "model.safetensors")
    assert {name.removeprefix("model.") for name in saved} == native.keys()


def test_the_folder_tells_what_it_is(exported: Exported) -> None:
    names = {path.name for path in exported.folder.iterdir()}
    assert names >= {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "state.json"}
    assert names >= {"processor_config.json", "preprocessor_config.json", "model.safetensors", "recipe.json"}
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "language: zh" in card
    assert "license: other" in card
    assert "| poems | MIT (the works are in the public domain) |" in card
    assert "None were measured." in card
    (exported.run / "evaluate").mkdir()
    score = {"value": 2.4327, "low": 1.86, "high": 3.06, "examples": 175}
    told = {"task": "captioning", "main": "cider_d", "scores": {"cider_d": score}}
    (exported.run / "evaluate" / "captioning-test.json").write_text(json.dumps(told))
    from m6.interop.folder import card as write_card

    assert "| captioning-test | cider_d | 2.433 | 1.860 to 3.060 | 175 |" in write_card(exported.run)


def test_low_rank_adapters_are_trained_and_merged(exported: Exported) -> None:
    peft = pytest.importorskip("peft")
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(exported.folder)
    inputs = exported.processor(images=[str(path) for path in exported.pictures[:3]], suffix=["红", "绿", "蓝"])
    settings = peft.LoraConfig(r=4, target_modules=["qkv", "out", "up", "down"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, settings)
    optimizer = torch.optim.AdamW([each for each in adapted.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        loss = adapted(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    adapted.eval()
    expected = adapted(**inputs).logits
    merged = adapted.merge_and_unload()
    assert type(merged) is type(exported.model)
    torch.testing.assert_close(merged(**inputs).logits, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(expected, exported.model(**inputs).logits, atol=1e-2)


def test_trainer_learns_pictures(exported: Exported, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(exported.folder)
    names = [{"path": str(path), "name": name} for path, name in zip(exported.pictures, "一二三四五六", strict=True)]

    def collate(rows: list[dict[str, str]]) -> dict[str, torch.Tensor]:
        found = exported.processor(images=[row["path"] for row in rows], suffix=[row["name"] for row in rows])
        return dict(found)

    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=12, per_device_train_batch_size=6, learning_rate=1e-2, logging_steps=1,
        remove_unused_columns=False, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, seed=0,
    )  # fmt: skip
    trainer = transformers.Trainer(model=model, args=settings, train_dataset=names, data_collator=collate)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]


@pytest.fixture(scope="module")
def guided(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all that the guide says was done, word for word, with the run of these tests."""
    for name in ("peft", "accelerate", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("guide")
    (folder / "runs").mkdir()
    (folder / "runs" / "quickstart").symlink_to(exported.run)
    (folder / "cat.png").write_bytes(exported.pictures[0].read_bytes())
    known: dict[str, Any] = {}
    with contextlib.chdir(folder):
        for language, block in blocks("en"):
            for words in map(shlex.split, block.splitlines() if language == "bash" else []):
                assert words[0] == "pip" or main(words[1:]) == 0
            if language == "python":
                exec(block, known)
    assert len(known["answers"]) == 4
    return folder


def blocks(language: str) -> list[tuple[str, str]]:
    guide = Path(__file__).parents[3] / "docs" / language / "huggingface.md"
    return re.findall(r"```(\w+)\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)


def test_the_guide_works_and_is_the_same_in_both_languages(guided: Path) -> None:
    assert blocks("en") == blocks("zh")
    assert {path.name for path in guided.iterdir()} >= {"m6-hf", "m6-onnx", "m6-adapted"}


def test_onnx_has_the_same_logits(exported: Exported, guided: Path) -> None:
    import onnxruntime

    inputs = exported.inputs(exported.asked()[1][:3])  # filled up on the left
    session = onnxruntime.InferenceSession(guided / "m6-onnx" / "model.onnx")
    (found,) = session.run(None, {name: each.numpy() for name, each in inputs.items()})
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(torch.tensor(found)[real], exported.model(**inputs).logits[real], atol=1e-4, rtol=0)


def test_mistakes_are_told(exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = exported.inputs(exported.asked()[1][:2])
    with pytest.raises(ValueError, match=r"1 pictures are 4 tokens <image>, there are 8 in input_ids"):
        exported.model(**{**inputs, "pixel_values": inputs["pixel_values"][:1]})
    with pytest.raises(ValueError, match="the vocabulary of M6 cannot be changed"):
        exported.model.resize_token_embeddings(5000)
    turns = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}] * 2
    with pytest.raises(Exception, match="one message of a user"):
        exported.inputs(turns)
    recipe = json.loads((exported.run / "config.json").read_text())
    recipe["pretrain"]["data"]["image_input"] = "codes"
    (tmp_path / "config.json").write_text(json.dumps(recipe))
    from m6.interop.folder import config_of

    with pytest.raises(UserError, match="reads pictures as codes"):
        config_of(tmp_path)
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", **{"stem": "crops", "crops.folder": str(make_folder(tmp_path / "vision"))})
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "hf")]) == 2
    assert "a vision model in a folder of its own" in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("first", ["m6", "transformers"])
def test_importing_both_is_enough(exported: Exported, first: str) -> None:
    script = f"""
import sys
import {first}
if {first!r} == "m6":
    assert not {{"torch", "transformers", "pydantic"}} & sys.modules.keys()
from transformers import AutoConfig, AutoProcessor
import m6
print(type(AutoConfig.from_pretrained({str(exported.folder)!r})).__name__)
print(type(AutoProcessor.from_pretrained({str(exported.folder)!r})).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["M6Config", "M6Processor"], done.stderr


def test_a_mark_spelt_out_is_a_mark_only_here(exported: Exported) -> None:
    """A mark that a text spells out is text for the native tokenizer, and a mark for the one of transformers."""
    assert 3 not in exported.engine.text("<end>").ids
    assert 3 in exported.processor.tokenizer("<end>")["input_ids"]
