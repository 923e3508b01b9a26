"""Attention whose weights are recomputed in the backward pass; long sequences use a fused kernel on TPUs."""

import math
from functools import partial

import jax
import jax.numpy as jnp

_LONG = 512  # from this length on, the fused kernel moves less data than separate operations
_LANES = 128  # blocks of the fused kernel are multiples of a TPU's vector width
_LARGEST_BLOCK = 1024


def attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """softmax(q k^T / sqrt(d)) v per head.

    The attention weights are the largest arrays of a layer. Recomputing them in the backward pass takes less memory,
    and less memory traffic, than storing them. For long sequences without a mask, programs for TPUs use jax's fused
    kernel, which keeps the attention weights in on-chip memory; it requires d <= 128 or a multiple of 128.

    Args:
      query: float [B, L, heads, d].
      key: float [B, M, heads, d].
      value: float [B, M, heads, d].
      mask: boolean, broadcastable to [B, heads, L, M]; True where attention is allowed.

    Returns:
      float [B, L, heads, d].
    """
    plain = jax.checkpoint(partial(jax.nn.dot_product_attention, mask=mask))
    depth = query.shape[3]
    unsupported = mask is not None or (depth > _LANES and depth % _LANES)
    if unsupported or min(query.shape[1], key.shape[1]) < _LONG:
        return plain(query, key, value)
    return jax.lax.platform_dependent(query, key, value, tpu=fused, default=plain)


def fused(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """`attend` without a mask, with jax's kernel for TPUs (FlashAttention, Dao et al. 2022)."""
    from jax.experimental.pallas.ops.tpu import flash_attention as kernel

    (batch, queries, _, depth), keys = query.shape, key.shape[1]
    padded_queries, query_block = _padding(queries)
    padded_keys, key_block = _padding(keys)
    sizes = kernel.BlockSizes(
        block_q=query_block,
        block_k_major=key_block,
        block_k=key_block,
        block_b=1,
        block_q_major_dkv=query_block,
        block_k_major_dkv=key_block,
        block_k_dkv=key_block,
        block_q_dkv=query_block,
        block_k_major_dq=_LANES,  # the backward pass expands an array to this width
        block_k_dq=_LANES,
        block_q_dq=query_block,
    )
    # Positions attend only to those with the same id, so that padding has no effect.
    ids = kernel.SegmentIds(
        jnp.broadcast_to((jnp.arange(padded_queries) >= queries).astype(jnp.int32), (batch, padded_queries)),
        jnp.broadcast_to((jnp.arange(padded_keys) >= keys).astype(jnp.int32), (batch, padded_keys)),
    )
    if (padded_queries, padded_keys) == (queries, keys):
        ids = None

    def arrange(x: jax.Array, length: int) -> jax.Array:
        return jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0), (0, 0))).swapaxes(1, 2)

    h = kernel.flash_attention(
        arrange(query, padded_queries),
        arrange(key, padded_keys),
        arrange(value, padded_keys),
        segment_ids=ids,
        sm_scale=1 / math.sqrt(depth),
        block_sizes=sizes,
    )
    return h.swapaxes(1, 2)[:, :queries]


def _padding(length: int) -> tuple[int, int]:
    """The padded length of a sequence and its block size: as few blocks as _LARGEST_BLOCK allows."""
    blocks = -(-length // _LARGEST_BLOCK)
    block = -(-length // (blocks * _LANES)) * _LANES
    return blocks * block, block
