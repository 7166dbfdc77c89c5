"""Weights out of files of several ranks: whole tensors, as PyTorch's own reader puts them together."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from m6.model.weights import TensorFiles


def test_parts_of_several_ranks_become_whole_tensors(tmp_path: Path) -> None:
    whole = {"matrix": torch.randn(5, 6), "vector": torch.arange(7), "number": torch.tensor(3.5)}
    whole["half"] = torch.ones(4).half()
    parts = [
        {"matrix": (whole["matrix"][:3, :4], [0, 0]), "number": (whole["number"], [])},
        {"matrix": (whole["matrix"][3:, :4], [3, 0]), "vector": (whole["vector"][4:], [4])},
        {"matrix": (whole["matrix"][:3, 4:], [0, 4]), "vector": (whole["vector"][:4], [0])},
        {"matrix": (whole["matrix"][3:, 4:], [3, 4]), "half": (whole["half"], [0])},
    ]
    for rank, own in enumerate(parts):
        places = {name: {"saved_offsets": offset} for name, (_, offset) in own.items()}
        save_file(
            {name: part.contiguous() for name, (part, _) in own.items()}, tmp_path / f"{rank}.safetensors",
            {"DCP_SHARDING_INFO": json.dumps(places)},
        )  # fmt: skip
    found = TensorFiles(tmp_path).read()
    theirs = {name: torch.empty_like(tensor) for name, tensor in found.items()}
    load(dict(theirs), storage_reader=HuggingFaceStorageReader(str(tmp_path)), no_dist=True)
    assert found.keys() == whole.keys()
    for name, tensor in whole.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert torch.equal(theirs[name], tensor)
