"""Sections of a configuration: the networks, with the defaults, types and ranges of all their fields."""

from typing import Any

import ml_collections

from bitdiff.configuration.fields import Table, boolean, fraction, integer, integers, number, text, to_config

_WIDTH = 2**16
_REMAT = boolean(False, "recomputes activations in the backward pass: less memory, a third more time")
_DTYPE = text("float32", "the dtype of the computation", ("float32", "bfloat16"))
_DROPOUT = fraction(0.0, "dropout rate")
_HEAD_DIM = integer(64, "channels per attention head", 1, _WIDTH)

UNET = {
    "name": text("unet", "the network", ("unet",)),
    "dim": integer(256, "channels at the full resolution", 1, _WIDTH),
    "multipliers": integers((1, 1, 1), "channels at each resolution, relative to dim", 1, 2**8, length=-1),
    "blocks": integer(3, "residual blocks per resolution", 1, 2**8),
    "attention_resolutions": integers((16, 8), "resolutions with self-attention", 1, 2**13),
    "head_dim": _HEAD_DIM,
    "out_size": integer(3, "kernel size of the last convolution", 1, 31),
    "dropout": _DROPOUT,
    "remat": _REMAT,
    "dtype": _DTYPE,
}
TRANSFORMER = {
    "name": text("transformer", "the network", ("transformer",)),
    "dim": integer(512, "width", 1, _WIDTH),
    "layers": integer(6, "number of blocks", 1, 2**10),
    "head_dim": _HEAD_DIM,
    "mlp_ratio": integer(4, "hidden width of the MLPs, relative to dim", 1, 2**6),
    "embed_layers": integer(1, "1 embeds a token's bits linearly, 2 with an MLP", 1, 2),
    "dropout": _DROPOUT,
    "remat": _REMAT,
    "dtype": _DTYPE,
}
MLP = {
    "name": text("mlp", "the network", ("mlp",)),
    "dim": integer(128, "width", 1, _WIDTH),
    "layers": integer(4, "number of blocks", 1, 2**10),
    "dropout": _DROPOUT,
    "dtype": _DTYPE,
}
VIT = {
    "name": text("vit", "the image encoder", ("vit",)),
    "patch": integer(16, "side of a patch in pixels", 1, 2**10),
    "dim": integer(768, "width", 1, _WIDTH),
    "layers": integer(12, "number of blocks", 1, 2**10),
    "stem": integers((), "channels of convolutions that replace the linear patch embedding", 1, _WIDTH),
    "head_dim": _HEAD_DIM,
    "mlp_ratio": integer(4, "hidden width of the MLPs, relative to dim", 1, 2**6),
    "remat": _REMAT,
    "weights": text("", "path of a ViT's published weights (.npz) to start from"),
    "dtype": _DTYPE,
}
POSE = {
    "name": text("pose", "the network", ("pose",)),
    "scalars": integer(24, "scalars per node", 1, _WIDTH),
    "vectors": integer(6, "number of pseudoscalars, of vectors, and of pseudovectors per node", 1, _WIDTH),
    "layers": integer(5, "number of interactions", 1, 2**10),
    "residue_neighbors": integer(24, "nearest residues that a residue is connected to", 1, 2**16),
    "atom_neighbors": integer(24, "nearest residues that an atom is connected to", 1, 2**16),
    "distance": number(15.0, "longest edge between residues, in angstroms", above=True),
    "cross_distance": number(
        20.0, "longest edge between an atom and a residue, in angstroms, to which 3 sigma are added", above=True
    ),
}
POINTER_ENCODER = {
    "kind": text("pointers", "the encoder that infers latents; pointers is for docking", ("pointers",)),
    "scalars": integer(24, "scalars per node", 1, _WIDTH),
    "vectors": integer(4, "number of pseudoscalars, of vectors, and of pseudovectors per node", 1, _WIDTH),
    "layers": integer(3, "number of interactions", 1, 2**10),
}
LATENT_ENCODER = {
    "kind": text("vit", "the encoder that infers latents; vit is for images, bag for tokens", ("vit", "mlp", "bag")),
    "patch": integer(8, "side of a ViT's patch in pixels", 1, 2**10),
    "dim": integer(768, "width", 1, _WIDTH),
    "layers": integer(12, "blocks of a ViT, or Dense layers of an MLP", 1, 2**10),
    "head_dim": _HEAD_DIM,
    "dtype": _DTYPE,
}
LATENT_TRANSFORMER = {
    "dim": integer(192, "width of the embedded latents", 1, _WIDTH),
    "layers": integer(6, "number of blocks; with 0, latents are only embedded", 0, 2**10),
    "head_dim": _HEAD_DIM,
    "dtype": _DTYPE,
}


def unet(**changes: Any) -> ml_collections.ConfigDict:
    """The U-Net's fields at the paper's CIFAR-10 size."""
    return _section(UNET, changes)


def transformer(**changes: Any) -> ml_collections.ConfigDict:
    """The Transformer's fields."""
    return _section(TRANSFORMER, changes)


def mlp(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of an MLP over points."""
    return _section(MLP, changes)


def pose(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of docking's network, at the size of DiffDock-S."""
    return _section(POSE, changes)


def pointer_encoder(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of the encoder of docking's latents, at the size of DisCo-DiffDock-S."""
    return _section(POINTER_ENCODER, changes)


def vit(**changes: Any) -> ml_collections.ConfigDict:
    """The image encoder's fields at the size of ViT-B/16."""
    return _section(VIT, changes)


def latent_encoder(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of the encoder that infers latents, at the size of DisCo-Diff's for ImageNet 64 x 64."""
    return _section(LATENT_ENCODER, changes)


def latent_transformer(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of the Transformer that embeds latents, at the size of DisCo-Diff's for images."""
    return _section(LATENT_TRANSFORMER, changes)


def _section(table: Table, changes: dict[str, Any]) -> ml_collections.ConfigDict:
    section = to_config(table)
    section.update(changes)
    return section
