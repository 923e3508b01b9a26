#!/usr/bin/env python3
"""A PyTorch port of bitdiff's U-Net; prints the speed of its training step and forward pass as one line of JSON.

    python launch/torch_unet.py --config cifar10:uint_cond --rows 128 --dtype bfloat16

gpu_report.py runs it if torch is installed. The training step does the same work as bitdiff's: a forward pass on half
of the examples for self-conditioning, then the loss, gradients, gradient clipping, Adam and a moving average of the
weights. It uses torch.compile, the channels-last memory format, autocast (with --dtype bfloat16) and, on a GPU, fused
Adam.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bitdiff.configuration.named import load_config

_ROUNDS = 5
_EMA_DECAY = 0.9999


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with min(channels / 4, 32) groups."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-5)


class ResBlock(nn.Module):
    """See bitdiff.networks.unet.ResBlock."""

    def __init__(self, inputs: int, channels: int, embedding: int, dropout: float):
        super().__init__()
        self.norm_in, self.norm_out = group_norm(inputs), group_norm(channels)
        self.conv_in = nn.Conv2d(inputs, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.scale_shift = nn.Linear(embedding, 2 * channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Conv2d(inputs, channels, 1) if inputs != channels else nn.Identity()

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """x [B, C, H, W], embedding [B, E] -> [B, channels, H, W]."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.scale_shift(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.dropout(F.silu(self.norm_out(h) * (1.0 + scale) + shift))
        return (self.shortcut(x) + self.conv_out(h)) / math.sqrt(2.0)


class Attention(nn.Module):
    """See bitdiff.networks.layers.Attention."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps x [B, L, C] to [B, L, C]."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """See bitdiff.networks.unet.AttentionBlock."""

    def __init__(self, channels: int, head_dim: int):
        super().__init__()
        self.norm = group_norm(channels)
        self.attention = Attention(channels, max(channels // head_dim, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps x [B, C, H, W] to [B, C, H, W]."""
        h = self.attention(self.norm(x).flatten(2).transpose(1, 2))
        return (x + h.transpose(1, 2).reshape(x.shape)) / math.sqrt(2.0)


class TimeEmbedding(nn.Module):
    """See bitdiff.networks.layers.TimeEmbedding."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.dim, self.num_classes = dim, num_classes
        self.dense_in = nn.Linear(dim, 4 * dim)
        self.dense_out = nn.Linear(4 * dim + num_classes, 4 * dim)

    def forward(self, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Embeds t [B] and label int [B] as [B, 4 dim]."""
        half = self.dim // 2
        angles = t[:, None] * 1e4 ** (-torch.arange(half, device=t.device) / half)
        h = F.silu(self.dense_in(torch.cat([angles.sin(), angles.cos()], dim=-1)))
        if self.num_classes:
            h = torch.cat([h, F.one_hot(label, self.num_classes).to(h.dtype)], dim=-1)
        return F.silu(self.dense_out(h))


class UNet(nn.Module):
    """See bitdiff.networks.unet.UNet; the modules have the same names."""

    def __init__(self, network: Any, inputs: int, outputs: int, size: int, num_classes: int):
        super().__init__()
        widths = [network.dim * multiplier for multiplier in network.multipliers]
        self.stages, self.blocks = len(widths), network.blocks
        self.embedding = TimeEmbedding(network.dim, num_classes)
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.norm_in, self.norm_out = group_norm(widths[0]), group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], outputs, 3, padding=1)
        channels, skips = widths[0], [widths[0]]

        def block(name: str, stage: int, extra: int = 0) -> None:
            self.add_module(name, ResBlock(channels + extra, widths[stage], 4 * network.dim, network.dropout))
            if size // 2**stage in network.attention_resolutions:
                self.add_module(f"{name}_attention", AttentionBlock(widths[stage], network.head_dim))

        for stage, width in enumerate(widths):
            for i in range(self.blocks):
                block(f"down{stage}_block{i}", stage)
                channels = width
                skips.append(width)
            if stage < self.stages - 1:
                self.add_module(f"down{stage}", nn.Conv2d(width, width, 3, stride=2))
                skips.append(width)
        for stage, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks + 1):
                block(f"up{stage}_block{i}", stage, skips.pop())
                channels = width
            if stage:
                self.add_module(f"up{stage}", nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Maps x [B, C, H, W], t [B] and label int [B] to [B, outputs, H, W]."""
        embedding = self.embedding(t, label)

        def block(name: str, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = before = self.get_submodule(name)(h, embedding)
            attention = f"{name}_attention"
            return (self.get_submodule(attention)(h) if attention in self._modules else h), before

        h = self.conv_in(x)
        skips = [h]
        h = self.norm_in(h)
        for stage in range(self.stages):
            for i in range(self.blocks):
                h, skip = block(f"down{stage}_block{i}", h)
                skips.append(skip)
            if stage < self.stages - 1:
                h = self.get_submodule(f"down{stage}")(F.pad(h, (0, 1, 0, 1)))
                skips.append(h)
        for stage in reversed(range(self.stages)):
            for i in range(self.blocks + 1):
                h, _ = block(f"up{stage}_block{i}", torch.cat([h, skips.pop()], dim=1))
            if stage:
                h = self.get_submodule(f"up{stage}")(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))


def seconds_of(call: Callable[[], Any], seconds: float, device: str) -> float:
    """The time of a call: the median of five rounds, each with as many calls as fit in a fifth of `seconds`."""

    def timed(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / repeats

    for _ in range(3):
        timed(1)
    repeats = max(int(seconds / _ROUNDS / timed(1)), 1)
    return float(np.median([timed(repeats) for _ in range(_ROUNDS)]))


def measure(config: Any, rows: int, dtype: str, seconds: float, device: str) -> dict[str, float]:
    """Examples per second of the training step and seconds of a forward pass, compiled."""
    size, bits = config.data.image_size, config.data.channels * max(config.data.vocab_size - 1, 1).bit_length()
    model = UNet(config.network, 2 * bits, bits, size, config.data.num_classes)
    model = model.to(device, memory_format=torch.channels_last)
    average = [weight.detach().clone() for weight in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.optimizer.learning_rate, fused=device == "cuda")
    compiled = torch.compile(model, dynamic=False)  # for two batch sizes
    half = torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")
    x0 = torch.randn(rows, bits, size, size, device=device).to(memory_format=torch.channels_last)
    t = torch.rand(rows, device=device)
    label = torch.randint(max(config.data.num_classes, 1), (rows,), device=device)
    chosen = slice(None, None, 2)

    def step() -> None:
        gamma = torch.cos(t * math.pi / 2)[:, None, None, None] ** 2
        x_t = gamma.sqrt() * x0 + (1 - gamma).sqrt() * torch.randn_like(x0)
        previous = torch.zeros_like(x0)
        with half:
            with torch.no_grad():
                inputs = torch.cat([x_t[chosen], previous[chosen]], dim=1)
                previous[chosen] = compiled(inputs, 1000 * t[chosen], label[chosen]).float().clamp(-1, 1)
            output = compiled(torch.cat([x_t, previous], dim=1), 1000 * t, label)
        loss = F.mse_loss(output.float(), x0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        torch._foreach_lerp_(average, [weight.detach() for weight in model.parameters()], 1 - _EMA_DECAY)

    step_seconds = seconds_of(step, seconds, device)
    model.eval()
    inputs = torch.cat([x0, x0], dim=1)

    @torch.no_grad()
    def forward() -> torch.Tensor:
        with half:
            return compiled(inputs, 1000 * t, label)

    return {
        "examples_per_second": rows / step_seconds,
        "network_call_seconds": seconds_of(forward, seconds, device),
        "memory_mib": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else float("nan"),
    }


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Measures the U-Net in PyTorch.")
    parser.add_argument("--config", required=True, help="an image config, such as cifar10:uint_cond")
    parser.add_argument("--rows", type=int, required=True, help="examples per step")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--seconds", type=float, default=3.0, help="approximate time of each measurement")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    numbers = measure(load_config(options.config), options.rows, options.dtype, options.seconds, device)
    json.dump(numbers | {"torch": torch.__version__}, sys.stdout)


if __name__ == "__main__":
    main()
