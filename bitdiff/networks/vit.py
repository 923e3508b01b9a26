"""The Vision Transformer (Dosovitskiy et al. 2021) as an image encoder, and its published weights.

The paper's encoder was pretrained for object detection; those weights were not published. What can be had
are weights of image classification: the `.npz` files of the ViT authors, e.g. `ViT-B_16` of ImageNet-21k.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.errors import UsageError
from bitdiff.networks.layers import Attention, Conv, Dense


class ViT(nn.Module):
    """Images [B, S, S, C] of 0 to 255 -> float32 [B, tokens + (S / patch)^2, dim]: class tokens, then the patches.

    Attributes:
      patch: width of a patch in pixels.
      stem: channels of 3 x 3 convolutions of stride 2, each with a LayerNorm, that stand in the place of one linear
        layer over a patch (Xiao et al. 2021); as many as halve a patch to one. () is the published ViT.
      dim: width; dim / head_dim heads.
      layers: number of blocks.
      head_dim: channels per attention head.
      mlp_ratio: width of the MLP over dim.
      tokens: how many class tokens; the published ViT has one.
      remat: whether what attention holds is computed anew in the backward pass, to save memory.
      dtype: type of the computation; parameters and output are float32.
    """

    patch: int
    dim: int
    layers: int
    stem: Sequence[int] = ()
    head_dim: int = 64
    mlp_ratio: int = 4
    tokens: int = 1
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        batch, height, width, _ = image.shape
        if height != width or height % self.patch:
            raise UsageError(f"images of {height} x {width} pixels cannot be cut into patches of {self.patch}")
        if self.stem and 2 ** len(self.stem) != self.patch:
            raise UsageError(f"a stem of {len(self.stem)} convolutions makes patches of {2 ** len(self.stem)} pixels")
        x = (image.astype(jnp.float32) / 127.5 - 1.0).astype(self.dtype)
        for i, width in enumerate(self.stem):
            x = Conv(width, stride=2, dtype=self.dtype, name=f"stem{i}")(x)
            x = nn.gelu(nn.LayerNorm(dtype=self.dtype, name=f"norm_stem{i}")(x))
        window = (1, 1) if self.stem else (self.patch, self.patch)
        h = nn.Conv(self.dim, window, window, padding="VALID", dtype=self.dtype, name="embed")(x)
        h = h.reshape(batch, -1, self.dim)
        first = self.param("class_token", nn.initializers.zeros, (1, self.tokens, self.dim)).astype(self.dtype)
        h = jnp.concatenate([jnp.broadcast_to(first, (batch, self.tokens, self.dim)), h], axis=1)
        h = h + self.param("positions", nn.initializers.normal(0.02), (1, *h.shape[1:])).astype(self.dtype)
        norm = {"epsilon": 1e-6, "dtype": self.dtype}
        attention = nn.remat(Attention) if self.remat else Attention
        for i in range(self.layers):
            heads = max(self.dim // self.head_dim, 1)
            g = nn.LayerNorm(**norm, name=f"norm_attention{i}")(h)
            h = h + attention(self.dim, heads, self.dtype, name=f"attention{i}")(g)
            g = nn.LayerNorm(**norm, name=f"norm_mlp{i}")(h)
            g = nn.gelu(Dense(self.mlp_ratio * self.dim, dtype=self.dtype, name=f"mlp_in{i}")(g), approximate=False)
            h = h + Dense(self.dim, dtype=self.dtype, name=f"mlp_out{i}")(g)
        return nn.LayerNorm(**norm, name="norm_out")(h).astype(jnp.float32)


def load_weights(path: Path, abstract: Any, head_dim: int) -> Any:
    """Published weights as the parameters of a ViT; positions are resized where the picture has another size.

    Args:
      path: a `.npz` file of the ViT authors.
      abstract: the parameters' shapes, `jax.eval_shape` of the module's init.
      head_dim: of the module.

    Raises:
      UsageError: no such file, another kind of file, or weights of another size.
    """
    if not path.is_file():
        raise UsageError(f"config.encoder.weights: there is no file {path}; give a ViT's .npz, e.g. ViT-B_16.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float32) for name in file.files if not name.startswith("head/")}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not an .npz file of a ViT: {error}") from error
    wanted = abstract["params"]
    if "stem0" in wanted:
        raise UsageError("config.encoder.stem must be () where config.encoder.weights names a published ViT")
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
    """Where the authors' file holds a parameter of ours."""
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
    """Positions [1, 1 + n^2, dim] -> [1, count, dim]: the class token's stays, the grid is interpolated."""
    if positions.shape[1] == count:
        return positions
    old, new = (round((n - 1) ** 0.5) for n in (positions.shape[1], count))
    if old**2 != positions.shape[1] - 1 or new**2 != count - 1:
        raise ValueError(f"{positions.shape[1]} positions cannot be made {count}")
    grid = positions[:, 1:].reshape(1, old, old, -1)
    grid = np.asarray(jax.image.resize(grid, (1, new, new, grid.shape[-1]), "bilinear"))
    return np.concatenate([positions[:, :1], grid.reshape(1, new**2, -1)], axis=1)
