"""Inception's weights: converted once from the file that FID tools share, and kept as plain arrays."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.files import read_arrays

_STANDARD = "pt_inception-2015-12-05-6726825d.pth"
_STANDARD_HASH = "6726825d"  # the start of its SHA-256, as in its name


class Weights(NamedTuple):
    """The network's variables, and the SHA-256 of the file they came from, for a score's provenance."""

    variables: Any
    sha256: str


def from_torch(state: Mapping[str, np.ndarray]) -> Any:
    """The linen variables of a PyTorch state dict: convolutions [O, I, H, W] -> [H, W, I, O], and so on."""
    places = {
        "conv.weight": ("params", "conv", "kernel"),
        "bn.weight": ("params", "bn", "scale"),
        "bn.bias": ("params", "bn", "bias"),
        "bn.running_mean": ("batch_stats", "bn", "mean"),
        "bn.running_var": ("batch_stats", "bn", "var"),
    }
    flat: dict[tuple[str, ...], np.ndarray] = {}
    for name, value in state.items():
        *layers, module, kind = name.split(".")
        value = np.asarray(value, np.float32)
        if module == "fc":
            if kind == "weight":  # the scores use logits without bias
                flat["params", "fc", "kernel"] = value.T
        elif f"{module}.{kind}" in places:
            collection, *rest = places[f"{module}.{kind}"]
            flat[(collection, *layers, *rest)] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    return traverse_util.unflatten_dict(flat)


def convert(source: Path, target: Path) -> str:
    """Writes the standard weight file as an `.npz` of plain arrays; only this step needs torch.

    Returns:
      The SHA-256 of the source, also kept in the target.

    Raises:
      UsageError: no such file, not the standard file, or torch is not installed.
    """
    if not source.is_file():
        raise UsageError(f"there is no file {source}; the weights are published as {_STANDARD}")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if not digest.startswith(_STANDARD_HASH):
        raise UsageError(
            f"{source} is not the file {_STANDARD}: its SHA-256 begins with {digest[:8]}, not {_STANDARD_HASH}; "
            "with other weights a distance would not be FID"
        )
    try:
        import torch  # pyrefly: ignore[missing-import]
    except ImportError as error:
        raise UsageError("converting the weights requires torch once: pip install torch, on any machine") from error
    state = torch.load(source, map_location="cpu", weights_only=True)
    arrays = {name: value.numpy() for name, value in state.items() if value.is_floating_point()}
    np.savez(target, sha256=np.array(digest), **arrays)
    return digest


def load(path: Path) -> Weights:
    """Reads what `convert` wrote.

    Raises:
      UsageError: no such file, or one that `convert` did not write.
    """
    try:
        arrays = read_arrays(path)
        digest = str(arrays.pop("sha256"))
    except (UsageError, KeyError) as error:
        raise UsageError(
            f"{path} holds no converted Inception weights ({error}); write them with bitdiff.convert_inception"
        ) from error
    return Weights(from_torch(arrays), digest)
