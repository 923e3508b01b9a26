"""Flax linen networks; they know nothing about diffusion."""

from bitdiff.networks.block_head import BlockHead
from bitdiff.networks.latent_networks import LATENT_ENCODERS, LatentEncoder, LatentTransformer
from bitdiff.networks.mlp import MLP
from bitdiff.networks.pointer_prior import PointerPrior
from bitdiff.networks.pose_confidence import PoseConfidence
from bitdiff.networks.registry import (
    make_block_head,
    make_encoder,
    make_latent_networks,
    make_network,
    make_pointer_encoder,
    make_pointer_prior,
    make_pose_confidence,
    make_pose_network,
)
from bitdiff.networks.transformer import Transformer
from bitdiff.networks.unet import UNet
from bitdiff.networks.vit import ViT

__all__ = [
    "LATENT_ENCODERS",
    "MLP",
    "BlockHead",
    "LatentEncoder",
    "LatentTransformer",
    "PointerPrior",
    "PoseConfidence",
    "Transformer",
    "UNet",
    "ViT",
    "make_block_head",
    "make_encoder",
    "make_latent_networks",
    "make_network",
    "make_pointer_encoder",
    "make_pointer_prior",
    "make_pose_confidence",
    "make_pose_network",
]
