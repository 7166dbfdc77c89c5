"""The whole way on the smoke recipe, as a user goes it: every verb, every answer, kill -9 and again, wrong input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from m6.recipes.recipe import Recipe
from m6.run import read_metrics
from tests.smoke.conftest import M6, m6

pytestmark = pytest.mark.xdist_group("smoke")  # one worker, which makes the run once
KEYS = [
    "seconds.total",
    "peak_rss_gib",
    "corpus.pairs",
    "corpus.texts",
    "vq.psnr_heldout",
    "vq.codebook_used",
    "tokens_per_second",
    "text_to_image.right_seen",
    "text_to_image.titled_seen",
    "caption.exact_seen",
    "matching.accuracy_seen",
    "scene.caption_exact_heldout",
    "scene.vqa_accuracy_heldout",
    "scene.matching_heldout",
    "scene.paint_right_heldout",
    "scene.colour_heldout",
    "scene.count_heldout",
    "caption.exact_heldout",
    "caption.keyword_f1_heldout",
    "matching.accuracy_heldout",
    "vqa.accuracy_heldout",
    "poem.form_rate",
    "poem.bits_per_char_heldout",
    "poem.copied_rate",
    "text_to_image.round_trip_heldout",
    "scene.judge_accuracy",
]


def test_one_worker_has_all_tests_of_the_group(request: pytest.FixtureRequest) -> None:
    """A group lives by the end of the ids that pytest-xdist gives its tests; without it each worker makes the run."""
    if request.config.getoption("loadgroup", default=False):
        assert request.node.nodeid.endswith("@smoke")


def test_results_have_every_key_and_its_baseline(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert not [key for key in KEYS if not isinstance(results.get(key), int | float)]
    scores = [key for key in results if key.startswith(("caption.", "matching.", "vqa.", "poem.", "text_to_image."))]
    plain = [key for key in scores if not key.endswith((".baseline", ".low", ".high"))]
    assert not [key for key in plain if f"{key}.baseline" not in results]
    assert results["poem.form_rate"] == 1.0


def test_the_report_stands_alone(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "data:image/png;base64" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_running_again_skips_what_is_done(run: Path) -> None:
    began = time.monotonic()
    before = (run / "pretrain" / "done.json").stat().st_mtime_ns
    again = m6("pretrain", run)
    assert again.returncode == 0
    assert "already done" in again.stdout
    assert (run / "pretrain" / "done.json").stat().st_mtime_ns == before
    assert time.monotonic() - began < 60


def test_answers_from_the_command_line(run: Path, tmp_path: Path) -> None:
    painting = tmp_path / "apple.png"
    assert m6("generate", "paint", "--run", run, "--prompt", "红苹果", "--output", painting).returncode == 0
    assert Image.open(painting).size == (64, 64)
    asked: list[list[str | Path]] = [["caption"], ["answer", "--question", "这是什么？"]]
    for words in asked:
        assert m6("generate", *words, "--image", painting, "--run", run).returncode == 0
    poem = m6("generate", "poem", "--run", run, "--title", "春晓", "--form", "五言绝句", "--seed", "1")
    assert [len(line) for line in poem.stdout.split()] == [12, 12]
    assert (
        poem.stdout
        == m6("generate", "poem", "--run", run, "--title", "春晓", "--form", "五言绝句", "--seed", "1").stdout
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "caption", "--image", "nowhere.png"], "nowhere.png: no such file"),
        (["generate", "paint", "--prompt", ""], "empty"),
        (["generate", "poem", "--title", "春", "--form", "十四行"], "form 十四行"),
        (["generate", "answer", "--image", "README.md", "--question", "？"], "not a picture"),
        (["generate", "paint", "--prompt", "梨" * 300], "this model reads at most"),
    ],
)
def test_wrong_questions_get_one_line(run: Path, words: list[str], message: str, tmp_path: Path) -> None:
    refused = m6(*words, "--run", run)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "Traceback" not in refused.stderr


def copy_early_stages(run: Path, folder: Path) -> Path:
    """A run folder like the given one up to the image tokenizer, so that pretraining can start at once."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("pretrain", "evaluate", "results.json", "report.html"))
    return folder


def weights(folder: Path) -> dict[str, bytes]:
    """Those of the newest checkpoint, bit for bit; the entries of a file's header come in any order."""
    (path,) = (sorted(folder.glob("step-*"))[-1] / "model").iterdir()
    return {name: array.tobytes() for name, array in load_file(path).items()}


def test_killed_again_and_again_it_ends_with_the_same_weights(run: Path, tmp_path: Path) -> None:
    """Pretraining is killed with -9 after each of its first checkpoints, and once with two loader workers."""
    folder = copy_early_stages(run, tmp_path / "killed")
    for wanted in (1, 2):
        process = subprocess.Popen(
            [*M6, "pretrain", str(folder), "--pretrain.loop.num_workers", "2" if wanted == 1 else "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 240
        while len(list((folder / "pretrain").glob("step-*"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ended = m6("pretrain", folder)
    assert ended.returncode == 0, ended.stderr
    assert weights(folder / "pretrain") == weights(run / "pretrain")


def test_a_run_of_another_config_is_refused_and_left_alone(run: Path) -> None:
    before = (run / "config.json").read_bytes()
    refused = m6("pretrain", "smoke", "--out", run, "--model.num_layers", "3")
    assert refused.returncode == 2
    assert "model.num_layers" in refused.stderr
    assert (run / "config.json").read_bytes() == before


def test_a_checkpoint_cut_short_is_one_line(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(run, folder)
    (path,) = (sorted((folder / "pretrain").glob("step-*"))[-1] / "model").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    refused = m6("generate", "paint", "--run", folder, "--prompt", "猫", "--output", tmp_path / "x.png")
    assert refused.returncode == 2
    assert "cut short" in refused.stderr
    assert not (tmp_path / "x.png").exists()


def test_a_stage_without_the_one_before_says_which(tmp_path: Path) -> None:
    refused = m6("pretrain", "smoke", "--out", tmp_path / "empty")
    assert refused.returncode == 2
    assert "m6 corpus" in refused.stderr


def test_a_dense_run_goes_on_as_experts(run: Path, tmp_path: Path) -> None:
    """The first step knows what the other run has learnt: its loss is far from that of a model made by chance."""
    folder = copy_early_stages(run, tmp_path / "experts")
    changes = {"pretrain.start_from": str(run), "model.experts.num_experts": 2, "pretrain.loop.log_every": 1}
    Recipe.read(run / "config.json").override(changes).write(folder / "config.json")
    done = m6("pretrain", folder)
    assert done.returncode == 0, done.stderr
    losses = [read_metrics(path / "pretrain" / "metrics.jsonl")[0]["loss"] for path in (run, folder)]
    assert losses[1] < losses[0] - 0.5


def test_a_run_begins_with_another(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "begun"
    for stage in ("corpus", "tokenizer", "vqgan", "pretrain"):
        done = m6(stage, "smoke", "--from", run, "--out", out, "--seed", "1")
        assert done.returncode == 0, done.stderr
    assert (out / "tokenizer" / "tokenizer.json").read_bytes() == (run / "tokenizer" / "tokenizer.json").read_bytes()
    ours, theirs = (load_file(next((max(each.glob("vqgan/step-*")) / "model").iterdir())) for each in (out, run))
    assert all((ours[name] == tensor).all() for name, tensor in theirs.items())
    first, alone = (read_metrics(each / "pretrain" / "metrics.jsonl")[0] for each in (out, run))
    assert first["loss/captioning"] < alone["loss/captioning"]
    wrong = m6("corpus", "paint", "--from", run, "--out", tmp_path / "no")
    assert wrong.returncode == 2
    assert "has pictures of 64 pixels, this recipe of 128" in wrong.stderr
    assert not (tmp_path / "no").exists()
