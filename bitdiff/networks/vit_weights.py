"""The weights published by the ViT authors.

The paper's encoder was pretrained for object detection, and its weights were not published. The ViT authors published
weights for image classification as `.npz` files, e.g. `ViT-B_16` trained on ImageNet-21k.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.files import read_arrays


def load_weights(path: Path, abstract: Any, head_dim: int) -> Any:
    """Published weights as the parameters of a ViT; positions are resized if the image has a different size.

    Args:
      path: an `.npz` file from the ViT authors.
      abstract: the parameters' shapes, `jax.eval_shape` of the module's init.
      head_dim: channels per attention head of the module.

    Raises:
      UsageError: no such file, not a ViT's file, or weights of a different size.
    """
    try:
        arrays = {name: np.asarray(array, np.float32) for name, array in read_arrays(path).items()}
    except UsageError as error:
        raise UsageError(f"config.encoder.weights: {error}; it must be a ViT's .npz, e.g. ViT-B_16.npz") from error
    wanted = abstract["params"]
    if "stem0" in wanted:
        raise UsageError("config.encoder.stem must be () if config.encoder.weights names a published ViT")
    positions = wanted["positions"].shape[1]
    blocks = {name.split("/")[1] for name in arrays if name.startswith("Transformer/encoderblock_")}
    layers = sum(name.startswith("mlp_in") for name in wanted)
    query = arrays.get("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/bias", np.zeros((0, 0)))
    if len(blocks) != layers or query.shape[1] != head_dim:
        raise UsageError(
            f"the weights in {path} do not fit config.encoder: {len(blocks)} layers with heads of "
            f"{query.shape[1]}, not {layers} with heads of {head_dim}"
        )
    loaded: dict[str, Any] = {}
    try:
        for name, part in wanted.items():
            if name == "positions":
                loaded[name] = _resize_positions(arrays["Transformer/posembed_input/pos_embedding"], positions)
            elif name == "class_token":
                loaded[name] = arrays["cls"]
            else:
                loaded[name] = jax.tree_util.tree_map_with_path(
                    lambda keys, leaf, name=name: arrays[_their_name(name, [key.key for key in keys])].reshape(
                        leaf.shape
                    ),
                    part,
                )
    except (KeyError, ValueError) as error:
        raise UsageError(f"the weights in {path} do not fit config.encoder: {error}") from error
    bad = [
        name for name, part in wanted.items() if jax.tree.map(np.shape, loaded[name]) != jax.tree.map(np.shape, part)
    ]
    if bad:
        raise UsageError(f"the weights in {path} do not fit config.encoder: {', '.join(bad)} differ in shape")
    return {"params": loaded}


def _their_name(name: str, keys: list[str]) -> str:
    """The name of a parameter in the authors' file."""
    kind = name.rstrip("0123456789")
    block = f"Transformer/encoderblock_{name[len(kind) :]}"
    place = {
        "embed": "embedding",
        "norm_out": "Transformer/encoder_norm",
        "norm_attention": f"{block}/LayerNorm_0",
        "attention": f"{block}/MultiHeadDotProductAttention_1",
        "norm_mlp": f"{block}/LayerNorm_2",
        "mlp_in": f"{block}/MlpBlock_3/Dense_0",
        "mlp_out": f"{block}/MlpBlock_3/Dense_1",
    }[kind]
    return "/".join([place, *keys])


def _resize_positions(positions: np.ndarray, count: int) -> np.ndarray:
    """Positions [1, 1 + n^2, dim] -> [1, count, dim]: keeps the class token's and interpolates the grid."""
    if positions.shape[1] == count:
        return positions
    old, new = (round((n - 1) ** 0.5) for n in (positions.shape[1], count))
    if old**2 != positions.shape[1] - 1 or new**2 != count - 1:
        raise ValueError(f"{positions.shape[1]} positions cannot be resized to {count}")
    grid = positions[:, 1:].reshape(1, old, old, -1)
    grid = np.asarray(jax.image.resize(grid, (1, new, new, grid.shape[-1]), "bilinear"))
    return np.concatenate([positions[:, :1], grid.reshape(1, new**2, -1)], axis=1)
