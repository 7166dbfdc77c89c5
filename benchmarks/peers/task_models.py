"""Models of transformers, trained from scratch on a task: PYTHON task_models.py KIND DATA OUT

KIND is git (picture and text in, text out), clip (two encoders, a contrastive loss) or gpt2 (text in, text out). DATA
is one of `benchmarks.task_data`: pictures as pixels, texts as ids of the measured run's own vocabulary, how many layers
and how wide, and for how many minutes. OUT becomes a file of answers: ids of written ones, and the nats of the right
answers; log-likelihoods of choices; a matrix of fits for clip.

Each is trained by AdamW with warm-up and a cosine that ends when the time does, without dropout, on batches of about
one length, three times over: at each of three rates for the whole time, of which the one answers that is best on a part
of the training split that is kept from all three. A rate that is tried for a part of the time only is chosen too high.
Attention is fused where transformers has it: in gpt2, clip and the picture encoder of git.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

RATES = (3e-4, 1e-3, 3e-3)
KEPT = 0.1
"""Share of the training split by which a rate is chosen, at most `MOST_KEPT` examples."""
MOST_KEPT = 256
BATCH = 64
POOL = 16
"""Batches that are drawn together and sorted by length before they are cut."""
ANSWERED_AT_ONCE = 64
PAD, BEGIN, END = 0, 1, 2
"""Ids of the models here; those of the vocabulary follow."""
SHIFT = 3


Asked = dict[str, Any]
"""An example: ids of its prompt, of its answer and of all `answers`, and the places of its picture and its choices."""


class Written(nn.Module):
    """A decoder that reads a picture, if there is one, and a prompt, and learns the answer."""

    def __init__(self, kind: str, data: dict[str, Any]) -> None:
        super().__init__()
        from transformers import GitConfig, GitForCausalLM, GPT2Config, GPT2LMHeadModel  # slow to import

        layers, width, heads, inner = (data[name] for name in ("layers", "width", "heads", "inner"))
        longest = data["longest"] + 4
        ids = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD}
        self.pictures = data["pictures"] if kind == "git" else None
        self.body = "git" if kind == "git" else "transformer"
        if kind == "git":
            vision = {
                "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": max(1, layers // 2),
                "num_attention_heads": heads, "image_size": data["pictures"].shape[1], "patch_size": data["patch"],
            }  # fmt: skip
            self.model: Any = GitForCausalLM(
                GitConfig(
                    vision_config=vision, vocab_size=data["vocabulary"] + SHIFT, hidden_size=width,
                    num_hidden_layers=layers - layers // 2, num_attention_heads=heads, intermediate_size=inner,
                    max_position_embeddings=longest, tie_word_embeddings=True, hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0, **ids,
                )
            )  # fmt: skip
        else:
            self.model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=data["vocabulary"] + SHIFT, n_embd=width, n_layer=layers, n_head=heads, n_inner=inner,
                    n_positions=longest, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ids,
                )
            )  # fmt: skip

    def nats(self, examples: Sequence[Asked]) -> tuple[Tensor, Tensor]:
        """-log p of every token of the answers and of their ends [L], and the example of each [L]."""
        rows, starts = [], []
        for each in examples:
            asked = [BEGIN, *(token + SHIFT for token in each["prompt"])]
            rows.append(torch.tensor([*asked, *(token + SHIFT for token in each["answer"]), END]))
            starts.append(len(asked))
        ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        told = mask.bool() & (torch.arange(ids.shape[1]) >= torch.tensor(starts)[:, None])
        hidden = self.hidden(ids, mask, examples)[:, :-1][told[:, 1:]]
        logits = self.model.get_output_embeddings()(hidden)
        return F.cross_entropy(logits.float(), ids[told], reduction="none"), told.nonzero()[:, 0]

    def hidden(self, ids: Tensor, mask: Tensor, examples: Sequence[Asked]) -> Tensor:
        """What the model makes of texts [B, T], behind their pictures if it sees any: [B, T, D]."""
        body = getattr(self.model, self.body)
        found: Tensor = body(input_ids=ids, attention_mask=mask, **self.seen(examples)).last_hidden_state
        return found[:, -ids.shape[1] :]

    def loss(self, examples: Sequence[Asked]) -> Tensor:
        """The mean over the tokens of all answers and their ends."""
        return self.nats(examples)[0].mean()

    @torch.no_grad()
    def surprises(self, examples: Sequence[Asked]) -> Tensor:
        """-log p of each answer and its end [N], float64; those of about one length together."""
        found = torch.zeros(len(examples), dtype=torch.float64)
        order = sorted(range(len(examples)), key=lambda index: length(examples[index]))
        for start in range(0, len(order), ANSWERED_AT_ONCE):
            part = order[start : start + ANSWERED_AT_ONCE]
            nats, owner = self.nats([examples[index] for index in part])
            found.index_add_(0, torch.tensor(part)[owner], nats.double())
        return found

    def chosen(self, examples: Sequence[Asked], texts: Sequence[list[int]]) -> list[list[float]]:
        """log p of each choice of each example, which names them by their place in `texts`."""
        asked = [{**each, "answer": texts[place]} for each in examples for place in each["choices"]]
        found = iter((-self.surprises(asked)).tolist())
        return [[next(found) for _ in each["choices"]] for each in examples]

    def tokens(self, examples: Sequence[Asked]) -> int:
        """How much it reads and writes, patches of pictures among it."""
        patches = self.model.config.vision_config if self.pictures is not None else None
        own = (patches.image_size // patches.patch_size) ** 2 if patches else 0
        return sum(length(each) + own for each in examples)

    @torch.no_grad()
    def answers(self, examples: Sequence[Asked], longest: int) -> list[list[int]]:
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

    def seen(self, examples: Sequence[Asked]) -> dict[str, Tensor]:
        """The pictures, if it reads any."""
        if self.pictures is None:
            return {}
        return {"pixel_values": scaled(self.pictures[[each["picture"] for each in examples]])}


class TwoEncoders(nn.Module):
    """CLIP: a picture and its text are near one another, farther from the others of their batch."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__()
        from transformers import CLIPConfig, CLIPModel

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

    def texts(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors of texts."""
        rows = [torch.tensor([BEGIN, *(token + SHIFT for token in ids), END]) for ids in texts]
        ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return F.normalize(features(self.model.get_text_features(input_ids=ids, attention_mask=mask)), dim=-1)

    def seen(self, places: Sequence[int]) -> Tensor:
        """Unit vectors of pictures."""
        return F.normalize(
            features(self.model.get_image_features(pixel_values=scaled(self.pictures[list(places)]))), dim=-1
        )

    def loss(self, examples: Sequence[Asked]) -> Tensor:
        """Cross-entropy both ways over the batch; examples of one text or of one picture are right for one another."""
        texts, places = [tuple(each["answer"]) for each in examples], [each["picture"] for each in examples]
        logits = self.model.logit_scale.exp() * self.seen(places) @ self.texts(texts).T
        numbers = {text: number for number, text in enumerate(texts)}
        own, picture = torch.tensor([numbers[text] for text in texts]), torch.tensor(places)
        alike = ((own[:, None] == own) | (picture[:, None] == picture)).float()
        wanted = alike / alike.sum(1, keepdim=True)
        return (F.cross_entropy(logits.float(), wanted) + F.cross_entropy(logits.float().T, wanted)) / 2

    def tokens(self, examples: Sequence[Asked]) -> int:
        """How much it reads, patches of pictures among it."""
        patches = self.model.config.vision_config
        own = (patches.image_size // patches.patch_size) ** 2
        return sum(length(each) + own for each in examples)

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


def length(example: Asked) -> int:
    """Of its text, with its begin and its end."""
    return len(example["prompt"]) + len(example["answer"]) + 2


def batches(examples: Sequence[Asked], seed: int, by_length: bool) -> Iterator[list[Asked]]:
    """Shuffled epochs without end, one of the right answers of each example drawn each time. By length: those of about
    one length together."""
    draw = torch.Generator().manual_seed(seed)

    def shuffled(count: int) -> list[int]:
        return torch.randperm(count, generator=draw).tolist()

    while True:
        order = shuffled(len(examples))
        for start in range(0, len(order), POOL * BATCH):
            pool = [one_answer(examples[index], draw) for index in order[start : start + POOL * BATCH]]
            if by_length:
                pool.sort(key=length)
            cut = [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
            yield from (cut[index] for index in shuffled(len(cut)))


def one_answer(example: Asked, draw: torch.Generator) -> Asked:
    """The example with one of its answers."""
    answers = example["answers"]
    return {**example, "answer": answers[int(torch.randint(len(answers), (), generator=draw))] if answers else []}


def trained(
    data: dict[str, Any], kind: str, examples: Sequence[Asked], rate: float, seconds: float
) -> tuple[Any, dict[str, float]]:
    """A model that has learnt for so many seconds; and the updates that it made, the tokens that it saw, the seconds
    that it took."""
    torch.manual_seed(data["seed"])
    model: Any = TwoEncoders(data) if kind == "clip" else Written(kind, data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    began, steps, tokens, passed = time.perf_counter(), 0, 0, 0.0
    for batch in batches(examples, data["seed"], kind != "clip"):  # texts of one length are no fair negatives
        done = passed / seconds
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, done / 0.05 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * done))
        with precision(data):
            loss = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps, tokens, passed = steps + 1, tokens + model.tokens(batch), time.perf_counter() - began
    return model.eval(), {"steps": steps, "tokens": tokens, "seconds": passed}


def precision(data: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """Numbers of matrix products: those that the measured run is trained with."""
    return torch.autocast("cpu", torch.bfloat16) if data["bfloat16"] else contextlib.nullcontext()


def best_trained(data: dict[str, Any], kind: str) -> tuple[Any, dict[str, Any]]:
    """The model of the rate that is best on examples which none has seen; its cost, and the loss of each rate."""
    kept = min(MOST_KEPT, max(1, int(KEPT * len(data["train"]))))
    order = torch.randperm(len(data["train"]), generator=torch.Generator().manual_seed(data["seed"])).tolist()
    held, rest = ([data["train"][index] for index in part] for part in (order[:kept], order[kept:]))
    held = [{**each, "answer": each["answers"][0] if each["answers"] else []} for each in held]
    found = {rate: trained(data, kind, rest or held, rate, 60 * data["minutes"]) for rate in RATES}
    with torch.no_grad():
        losses = {rate: float(model.loss(held)) for rate, (model, _) in found.items()}
    model, cost = found[best(losses)]
    return model, {"rate": best(losses), "rates": losses, **cost}


def best(losses: dict[float, float]) -> float:
    """The rate of the lowest loss; one that is no number is the highest."""
    return min(losses, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf)


def main(kind: str, source: str, target: str) -> None:
    """Train, answer."""
    torch.set_flush_denormal(True)  # before there are threads, which would keep theirs
    data = torch.load(source, weights_only=False)
    torch.set_num_threads(data["threads"])
    model, cost = best_trained(data, kind)
    result: dict[str, Any] = {"parameters": sum(each.numel() for each in model.parameters()), **cost}
    test, texts = data["test"], data["texts"]
    if kind == "clip":
        result["fits"] = model.fits([each["picture"] for each in test], texts).numpy()
    elif data["way"] == "chosen":
        result["chances"] = model.chosen(test, texts)
    else:
        result["answers"] = model.answers(test, data["longest_answer"])
        result["nats"] = model.surprises(test).numpy()
    torch.save(result, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
