"""Models of transformers, trained from scratch on a task: PYTHON task_models.py KIND DATA OUT

KIND is git (picture and text in, text out), clip (two encoders, a contrastive loss) or gpt2 (text in, text out). DATA
is one of `benchmarks.task_data`: pictures as pixels, texts as ids of the measured run's own vocabulary, how many layers
and how wide, and for how many minutes. OUT becomes a file of answers, ids for written ones, a matrix of fits for clip.

Each is trained by AdamW with warm-up and a cosine that ends when the time does, at the best of three rates, each tried
for a twentieth of it on a part of the training split that is kept from the trial.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    CLIPConfig,
    CLIPModel,
    GitConfig,
    GitForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
)

RATES = (3e-4, 1e-3, 3e-3)
TRIAL = 0.05
"""Share of the time for each rate."""
KEPT = 0.1
"""Share of the training split by which a rate is chosen, at most `MOST_KEPT` examples."""
MOST_KEPT = 256
BATCH = 64
ANSWERED_AT_ONCE = 64
PAD, BEGIN, END = 0, 1, 2
"""Ids of the models here; those of the vocabulary follow."""
SHIFT = 3


class Written(nn.Module):
    """A decoder that reads a picture, if there is one, and a prompt, and learns the answer."""

    def __init__(self, kind: str, data: dict[str, Any]) -> None:
        super().__init__()
        layers, width, heads, inner = (data[name] for name in ("layers", "width", "heads", "inner"))
        length = data["longest"] + 4
        ids = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD}
        self.pictures = data["pictures"] if kind == "git" else None
        if kind == "git":
            vision = {
                "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": max(1, layers // 2),
                "num_attention_heads": heads, "image_size": data["pictures"].shape[1], "patch_size": data["patch"],
            }  # fmt: skip
            self.model: Any = GitForCausalLM(
                GitConfig(
                    vision_config=vision, vocab_size=data["vocabulary"] + SHIFT, hidden_size=width,
                    num_hidden_layers=layers - layers // 2, num_attention_heads=heads, intermediate_size=inner,
                    max_position_embeddings=length, tie_word_embeddings=True, **ids,
                )
            )  # fmt: skip
        else:
            self.model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=data["vocabulary"] + SHIFT, n_embd=width, n_layer=layers, n_head=heads, n_inner=inner,
                    n_positions=length, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ids,
                )
            )  # fmt: skip

    def loss(self, examples: list[dict[str, Any]]) -> Tensor:
        """The mean over the tokens of all answers and their ends."""
        rows, labels = [], []
        for each in examples:
            asked = [BEGIN, *(token + SHIFT for token in each["prompt"])]
            told = [*(token + SHIFT for token in each["answer"]), END]
            rows.append(torch.tensor(asked + told))
            labels.append(torch.tensor([-100] * len(asked) + told))
        ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
        wanted = pad_sequence(labels, batch_first=True, padding_value=-100)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        loss: Tensor = self.model(input_ids=ids, attention_mask=mask, labels=wanted, **self.seen(examples)).loss
        return loss

    @torch.no_grad()
    def answers(self, examples: list[dict[str, Any]], longest: int) -> list[list[int]]:
        """What it writes, by the likeliest token each time; prompts of one length together, as they need no filling."""
        found: dict[int, list[int]] = {}
        alike: dict[int, list[int]] = {}
        for index, each in enumerate(examples):
            alike.setdefault(len(each["prompt"]), []).append(index)
        for indices in alike.values():
            for start in range(0, len(indices), ANSWERED_AT_ONCE):
                part = indices[start : start + ANSWERED_AT_ONCE]
                chosen = [examples[index] for index in part]
                ids = torch.tensor([[BEGIN, *(token + SHIFT for token in each["prompt"])] for each in chosen])
                written = self.model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=longest, do_sample=False,
                    **self.seen(chosen),
                )  # fmt: skip
                for index, row in zip(part, written[:, ids.shape[1] :].tolist(), strict=True):
                    ends = row.index(END) if END in row else len(row)
                    found[index] = [token - SHIFT for token in row[:ends] if token >= SHIFT]
        return [found[index] for index in range(len(examples))]

    def seen(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The pictures, if it reads any."""
        if self.pictures is None:
            return {}
        return {"pixel_values": scaled(self.pictures[[each["picture"] for each in examples]])}


class TwoEncoders(nn.Module):
    """CLIP: a picture and its text are near one another, farther from the others of their batch."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__()
        layers, width, heads, inner = (data[name] for name in ("layers", "width", "heads", "inner"))
        each = {"hidden_size": width, "intermediate_size": inner, "num_attention_heads": heads}
        text = {
            **each, "vocab_size": data["vocabulary"] + SHIFT, "num_hidden_layers": layers - layers // 2,
            "max_position_embeddings": data["longest"] + 4, "bos_token_id": BEGIN, "eos_token_id": END,
            "pad_token_id": PAD,
        }  # fmt: skip
        vision = {
            **each, "num_hidden_layers": max(1, layers // 2), "image_size": data["pictures"].shape[1],
            "patch_size": data["patch"],
        }  # fmt: skip
        self.model: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))
        self.pictures = data["pictures"]

    def texts(self, texts: list[list[int]]) -> Tensor:
        """Unit vectors of texts."""
        rows = [torch.tensor([BEGIN, *(token + SHIFT for token in ids), END]) for ids in texts]
        ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return F.normalize(features(self.model.get_text_features(input_ids=ids, attention_mask=mask)), dim=-1)

    def seen(self, places: list[int]) -> Tensor:
        """Unit vectors of pictures."""
        return F.normalize(features(self.model.get_image_features(pixel_values=scaled(self.pictures[places]))), dim=-1)

    def loss(self, examples: list[dict[str, Any]]) -> Tensor:
        """Cross-entropy both ways over the batch; examples of one text count as right for one another."""
        texts = [each["answer"] for each in examples]
        logits = self.model.logit_scale.exp() * self.seen([each["picture"] for each in examples]) @ self.texts(texts).T
        alike = torch.tensor([[one == other for other in texts] for one in texts]).float()
        wanted = alike / alike.sum(1, keepdim=True)
        return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2

    @torch.no_grad()
    def fits(self, places: list[int], texts: list[list[int]]) -> Tensor:
        """How near each picture is to each text: [N, M]."""
        ours = torch.cat([self.seen(places[at : at + 256]) for at in range(0, len(places), 256)])
        theirs = torch.cat([self.texts(texts[at : at + 256]) for at in range(0, len(texts), 256)])
        return ours @ theirs.T


def features(found: Any) -> Tensor:
    """The projected features, which some versions wrap."""
    return found if isinstance(found, Tensor) else found.pooler_output


def scaled(pixels: Any) -> Tensor:
    """[N, S, S, 3] uint8 to [N, 3, S, S] float32 from -1 to 1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def batches(examples: list[dict[str, Any]], seed: int) -> Iterator[list[dict[str, Any]]]:
    """Shuffled epochs without end."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(examples), generator=draw).tolist()
        for start in range(0, len(order), BATCH):
            yield [examples[index] for index in order[start : start + BATCH]]


def trained(data: dict[str, Any], kind: str, examples: list[dict[str, Any]], rate: float, seconds: float) -> Any:
    """A model that has learnt for so many seconds; and the updates that it made."""
    torch.manual_seed(data["seed"])
    model: Any = TwoEncoders(data) if kind == "clip" else Written(kind, data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    began, steps = time.perf_counter(), 0
    for batch in batches(examples, data["seed"]):
        done = (time.perf_counter() - began) / seconds
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, done / 0.05 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * done))
        loss = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return model.eval(), steps


def chosen_rate(data: dict[str, Any], kind: str, seconds: float) -> float:
    """The rate whose short training is best on examples that it has not seen."""
    kept = min(MOST_KEPT, max(1, int(KEPT * len(data["train"]))))
    order = torch.randperm(len(data["train"]), generator=torch.Generator().manual_seed(data["seed"])).tolist()
    held, rest = ([data["train"][index] for index in part] for part in (order[:kept], order[kept:]))
    found = {}
    for rate in RATES:
        model, _ = trained(data, kind, rest or held, rate, seconds)
        with torch.no_grad():
            found[rate] = float(model.loss(held))
    return min(found, key=lambda rate: found[rate] if math.isfinite(found[rate]) else math.inf)


def main(kind: str, source: str, target: str) -> None:
    """Choose a rate, train, answer."""
    torch.set_flush_denormal(True)
    data = torch.load(source, weights_only=False)
    seconds = 60 * data["minutes"]
    rate = chosen_rate(data, kind, TRIAL * seconds)
    model, steps = trained(data, kind, data["train"], rate, (1 - TRIAL * len(RATES)) * seconds)
    result: dict[str, Any] = {
        "rate": rate, "steps": steps, "parameters": sum(each.numel() for each in model.parameters()),
    }  # fmt: skip
    if kind == "clip":
        places = [each["picture"] for each in data["test"]]
        result["fits"] = model.fits(places, data["texts"]).numpy()
    else:
        result["answers"] = model.answers(data["test"], data["longest_answer"])
    torch.save(result, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
