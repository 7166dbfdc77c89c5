"""`generate` of transformers behind FastAPI: python -m benchmarks.peers.transformers_serve FOLDER PORT

FOLDER is a run that `m6 export` wrote. It is what most people would put together: the Auto classes, the chat template,
`generate` with its cache, one request at a time behind a lock, in a thread so that the interface goes on. It runs with
one thread or with as many as there are cores, whichever is faster here.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import threading
import time
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import m6  # noqa: F401 - tells transformers of it

WARM_UP = [{"role": "user", "content": "春天？"}]
WARM_UP_TOKENS = 32


class Peer:
    """The model, and who is at it."""

    def __init__(self, folder: str) -> None:
        torch.set_flush_denormal(True)
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.lock = threading.Lock()
        seconds = {}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        for threads in {1, cores}:
            torch.set_num_threads(threads)
            self.answer(WARM_UP, WARM_UP_TOKENS)
            began = time.perf_counter()
            self.answer(WARM_UP, WARM_UP_TOKENS)
            seconds[threads] = time.perf_counter() - began
        print(f"transformers, seconds by threads: {seconds}", file=sys.stderr)
        self.threads = min(seconds, key=lambda count: seconds[count])

    @torch.inference_mode()
    def answer(self, messages: list[dict[str, Any]], most: int) -> tuple[str, int]:
        """The text, and how many tokens it has."""
        with self.lock:
            asked = self.processor.apply_chat_template(
                [messages], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
            found = self.model.generate(**asked, max_new_tokens=most, do_sample=False)
            written = found[0, asked["input_ids"].shape[1] :]
            return self.processor.tokenizer.decode(written, skip_special_tokens=True), len(written)


def make_app(peer: Peer) -> FastAPI:
    """The part of OpenAI's interface that is measured."""
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> str:
        return "ok"

    @app.post("/v1/chat/completions")
    def chat(asked: dict[str, Any]) -> dict[str, Any]:
        torch.set_num_threads(peer.threads)  # of the worker that it runs in
        text, written = peer.answer([as_theirs(each) for each in asked["messages"]], asked["max_tokens"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        return {"choices": [choice], "usage": {"completion_tokens": written}}

    return app


def as_theirs(message: dict[str, Any]) -> dict[str, Any]:
    """A message of OpenAI's as the template takes it, its picture read."""
    if isinstance(message["content"], str):
        return message
    parts = []
    for part in message["content"]:
        if part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            parts.append({"type": "image", "image": Image.open(io.BytesIO(data))})
        else:
            parts.append(part)
    return {"role": message["role"], "content": parts}


if __name__ == "__main__":
    uvicorn.run(make_app(Peer(sys.argv[1])), port=int(sys.argv[2]), log_level="error")
