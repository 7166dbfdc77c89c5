"""Makes transformers know M6 as soon as both are imported, in either order, without importing it.

    import m6
    from transformers import AutoProcessor

`import m6` puts a finder in front of `sys.meta_path`. When a module of Auto classes is imported, the finder lets that
happen as ever and then registers M6 there. So `import m6` costs nothing, and who does not use it never loads it.
What transformers has imported already is registered at once.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

AUTO = "transformers.models.auto."
OURS = {
    "configuration_auto": ("AutoConfig", "configuration.M6Config"),
    "modeling_auto": ("AutoModelForImageTextToText AutoModelForCausalLM", "modeling.M6ForConditionalGeneration"),
    "image_processing_auto": ("AutoImageProcessor", "processing.M6ImageProcessor"),
    "processing_auto": ("AutoProcessor", "processing.M6Processor"),
}
"""Modules of transformers, their Auto classes, and what of ours they are told of. The tokenizer's class is theirs."""


class _Finder:
    """Finds these modules as Python does; behind each, M6 is registered there."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        own = name.removeprefix(AUTO)
        spec = PathFinder.find_spec(name, path, target) if own in OURS and own != name else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            register(module, own)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def when_imported() -> None:
    """Registers M6 with what transformers has loaded now, and with the rest when it is loaded."""
    for own in OURS:
        if (module := sys.modules.get(AUTO + own)) is not None:
            register(module, own)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def register(module: ModuleType, own: str) -> None:
    """Tells the Auto classes of a module of ours. Warns, and leaves transformers as it is, if a part that ours needs is
    missing or too old: others use transformers for other things."""
    names, path = OURS[own]
    where, ours = path.split(".")
    try:
        config = importlib.import_module("m6.interop.configuration").M6Config
        found = getattr(importlib.import_module(f"m6.interop.{where}"), ours)
    except ImportError as error:
        warnings.warn(f"transformers does not know M6: {error}; pip install 'open-m6[huggingface]'", stacklevel=2)
        return
    key = config.model_type if found is config else config
    for name in names.split():
        getattr(module, name).register(key, found, exist_ok=True)
