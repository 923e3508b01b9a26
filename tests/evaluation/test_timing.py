"""Tests of how compilation is timed."""

import subprocess
import sys

_SCRIPT = """
import pathlib, sys
import jax, jax.numpy as jnp
from bitdiff.evaluation.timing import no_cache

folder = pathlib.Path(sys.argv[1])
jax.config.update("jax_compilation_cache_dir", str(folder))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
entries = lambda: len([path for path in folder.iterdir() if path.name.endswith("-cache")])
counts = []
jax.jit(lambda x: x + 1)(jnp.ones(3)).block_until_ready()
counts.append(entries())
with no_cache():
    jax.jit(lambda x: x * 2 + 1)(jnp.ones(3)).block_until_ready()
counts.append(entries())
jax.jit(lambda x: x * 3 + 1)(jnp.ones(3)).block_until_ready()
counts.append(entries())
print(counts)
"""


def test_nothing_is_cached_without_the_cache_and_everything_again_afterwards(tmp_path):
    done = subprocess.run([sys.executable, "-c", _SCRIPT, tmp_path], capture_output=True, text=True, check=True)
    first, without, after = map(int, done.stdout.strip("[]\n").split(","))
    assert 0 < first == without < after
