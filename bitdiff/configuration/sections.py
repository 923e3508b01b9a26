"""Sections of a configuration: the networks, with the defaults of all their fields."""

from typing import Any

import ml_collections


def unet(**changes: Any) -> ml_collections.ConfigDict:
    """The U-Net's fields at the paper's CIFAR-10 size."""
    network = ml_collections.ConfigDict()
    network.name = "unet"
    network.dim = 256
    network.multipliers = (1, 1, 1)
    network.blocks = 3
    network.attention_resolutions = (16, 8)
    network.head_dim = 64
    network.out_size = 3
    network.dropout = 0.0
    network.remat = False  # recomputes activations in the backward pass: less memory, a third more time
    network.dtype = "float32"  # float32 | bfloat16, the dtype of the computation
    network.update(changes)
    return network


def transformer(**changes: Any) -> ml_collections.ConfigDict:
    """The Transformer's fields."""
    network = ml_collections.ConfigDict()
    network.name = "transformer"
    network.dim = 512
    network.layers = 6
    network.head_dim = 64
    network.mlp_ratio = 4
    network.embed_layers = 1  # 2 embeds a token's bits with an MLP
    network.dropout = 0.0
    network.remat = False
    network.dtype = "float32"
    network.update(changes)
    return network


def mlp(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of an MLP over points."""
    network = ml_collections.ConfigDict()
    network.name = "mlp"
    network.dim = 128
    network.layers = 4
    network.dropout = 0.0
    network.dtype = "float32"
    network.update(changes)
    return network


def vit(**changes: Any) -> ml_collections.ConfigDict:
    """The image encoder's fields at the size of ViT-B/16."""
    encoder = ml_collections.ConfigDict()
    encoder.name = "vit"
    encoder.patch = 16
    encoder.dim = 768
    encoder.layers = 12
    encoder.stem = ()  # channels of convolutions that replace the linear patch embedding
    encoder.head_dim = 64
    encoder.mlp_ratio = 4
    encoder.remat = False
    encoder.weights = ""  # a ViT's published .npz file to start from
    encoder.dtype = "float32"
    encoder.update(changes)
    return encoder


def latent_encoder(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of the encoder that infers latents, at the size of DisCo-Diff's for ImageNet 64 x 64."""
    encoder = ml_collections.ConfigDict()
    encoder.kind = "vit"  # vit | mlp
    encoder.patch = 8
    encoder.dim = 768
    encoder.layers = 12
    encoder.head_dim = 64
    encoder.dtype = "float32"
    encoder.update(changes)
    return encoder


def latent_transformer(**changes: Any) -> ml_collections.ConfigDict:
    """The fields of the Transformer that embeds latents, at the size of DisCo-Diff's for images."""
    embed = ml_collections.ConfigDict()
    embed.dim = 192
    embed.layers = 6
    embed.head_dim = 64
    embed.dtype = "float32"
    embed.update(changes)
    return embed
