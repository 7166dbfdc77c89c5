"""A service with weights drawn by chance, and its server in a thread."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from m6.data.config import Entry
from m6.generate.engine import Engine
from m6.recipes import quickstart
from m6.serve.app import make_app
from m6.serve.config import ServeConfig
from m6.serve.service import Service
from tests.unit.data.examples import picture
from tests.unit.generate.small_engine import small_engine


def make_service(folder: Path, *objectives: str, **config: object) -> Service:
    """Of the objectives of the quickstart and of questions without a picture, or of those that are named."""
    folder.mkdir(exist_ok=True)
    recipe = quickstart.recipe()
    told = dict.fromkeys(objectives or ("question_answering",), 1.0)
    known = () if objectives else recipe.pretrain.data.mixture
    mixture = (*known, Entry(source="poems", samples=1, objectives=told))
    recipe.override({"pretrain.data.mixture": mixture}).write(folder / "config.json")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Engine, "load", lambda folder, int8=False: small_engine())
        return Service(folder, ServeConfig().override(config))


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Its address, while it is served."""
    server = uvicorn.Server(uvicorn.Config(make_app(service), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def data_url(seed: int = 0, kind: str = "PNG", mode: str = "RGB") -> str:
    """A picture as it is sent."""
    written = io.BytesIO()
    Image.fromarray(picture(seed)).convert(mode).save(written, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode()}"
