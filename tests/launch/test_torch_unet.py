"""The U-Net in PyTorch, which only comparisons of speed use, computes what bitdiff's computes."""

import jax
import numpy as np
import pytest
from conftest import perturbed

from bitdiff.configuration import sections
from bitdiff.networks import make_network

torch = pytest.importorskip("torch")


@pytest.fixture
def torch_unet(launch_script):
    return launch_script("torch_unet")


def as_state(params):
    """Weights of the Flax network as a state_dict: kernels [h, w, in, out] become [out, in, h, w]."""
    state = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params["params"]):
        *modules, name = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        if name == "kernel":
            leaf = np.moveaxis(leaf, (-1, -2), (0, 1))
        state[".".join([*modules, "bias" if name == "bias" else "weight"])] = torch.tensor(np.array(leaf))
    return state


def test_the_networks_are_equal(torch_unet):
    section = sections.unet(dim=16, blocks=2, multipliers=(1, 2), attention_resolutions=(4,), head_dim=8, dropout=0.0)
    network = make_network(section, out_channels=6, num_classes=3)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 12)).astype(np.float32)
    t, label = np.linspace(0, 900, 4, dtype=np.float32), np.array([0, 1, 2, 1])
    params = perturbed(jax.jit(network.init)(jax.random.key(0), x, t, label))
    expected = jax.jit(network.apply)(params, x, t, label)
    model = torch_unet.UNet(section, 12, 6, 8, 3)
    model.load_state_dict(as_state(params))
    with torch.no_grad():
        output = model(torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(t), torch.tensor(label)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(expected).max())
