"""Bytes that compiled programs move: hand-written programs, and programs compiled for a described chip."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

from bitdiff.planning import slices, traffic

with_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
PROGRAM = """
%fused (p: f32[1000]) -> f32[1000] {
  %p = f32[1000]{0} parameter(0)
  ROOT %negate.0 = f32[1000]{0} negate(%p)
}

%body (state: (s32[], f32[256,128])) -> (s32[], f32[256,128]) {
  %state = (s32[], f32[256,128]{1,0:T(8,128)}) parameter(0)
  %x = f32[256,128]{1,0:T(8,128)} get-tuple-element(%state), index=1
  ROOT %double = f32[256,128]{1,0:T(8,128)} add(%x, %x)
}

%less (state: (s32[], f32[256,128])) -> pred[] {
  %state = (s32[], f32[256,128]{1,0:T(8,128)}) parameter(0)
  %end = s32[]{:T(128)} constant(5), metadata={op_name="sample"}
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %end), direction=LT
}

ENTRY %main (a: f32[100,8], b: bf16[64,128]) -> f32[256,128] {
  %a = f32[100,8]{1,0:T(8,128)} parameter(0)
  %b = bf16[64,128]{1,0:T(8,128)(2,1)} parameter(1)
  %fetch = (bf16[64,128]{1,0:T(8,128)(2,1)S(1)}, bf16[64,128]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%b)
  %near = bf16[64,128]{1,0:T(8,128)(2,1)S(1)} copy-done(%fetch)
  %part = ((f32[100,8]{1,0:T(8,128)}), f32[8,8]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:8], [0:8]}
  %stays = bf16[64,128]{1,0:T(8,128)(2,1)S(1)} fusion(%near, %near), kind=kLoop, calls=%fused
  %grown = f32[256,128]{1,0:T(8,128)} fusion(%stays, %a), kind=kLoop, calls=%fused
  %start = (s32[], f32[256,128]{1,0:T(8,128)}) tuple(%zero, %grown)
  ROOT %loop = (s32[], f32[256,128]{1,0:T(8,128)}) while(%start), condition=%less, body=%body
}
"""


def test_only_what_leaves_or_enters_hbm_counts():
    fetched = 64 * 128 * 2
    part = 8 * 128 * 4  # the minor dimension of 8 is padded to a tile of 128
    whole = 104 * 128 * 4  # 100 rows are padded to 104
    grown = 256 * 128 * 4
    loop = 5 * 2 * grown
    assert traffic.hbm_bytes(PROGRAM) == fetched + part + (grown + whole) + loop
    stated = PROGRAM.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}')
    assert traffic.hbm_bytes(stated) == fetched + part + (grown + whole) + loop * 7 / 5


def test_bytes_between_devices_are_counted_once_per_collective():
    program = """
      %all-reduce.1 = (f32[8,4]{1,0}, bf16[3]{0}) all-reduce(%a, %b), replica_groups={{0,1,2,3}}
      %all-reduce-start.2 = f32[5]{0} all-reduce-start(%c), replica_groups={{0,1,2,3}}
      %all-reduce-done.2 = f32[5]{0} all-reduce-done(%all-reduce-start.2)
      %fusion.3 = f32[100]{0} fusion(%d), calls=%all-reduce-like
      %reduce-scatter.5 = f32[6]{0} reduce-scatter(%f), dimensions={0}
      %all-gather.4 = s32[16]{0} all-gather(%e), dimensions={0}
    """
    reduced, gathered, scattered = 8 * 4 * 4 + 3 * 2 + 5 * 4, 16 * 4, 4 * 6 * 4
    assert traffic.exchanged_bytes(program, 4) == pytest.approx(0.75 * (2 * reduced + gathered + scattered))
    assert traffic.exchanged_bytes(program, 1) == 0


def described(function, *shapes):
    """The text of a function compiled for a described chip."""
    sharding = SingleDeviceSharding(slices.describe("v5e:2x2").devices[0])
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding) for shape in shapes]
    return jax.jit(function).lower(*arguments).compile().as_text()


@with_libtpu
def test_an_array_larger_than_the_on_chip_memory_is_read_and_written_once():
    size = 512 * 2**20
    assert traffic.hbm_bytes(described(lambda x: jnp.sin(x) + 1.0, (size // 4,))) == pytest.approx(2 * size, rel=1e-3)


@with_libtpu
def test_intermediate_values_that_fit_on_the_chip_do_not_count():
    size = 1024 * 1024 * 4
    text = described(lambda x, w: (x @ w) @ w @ w, (1024, 1024), (1024, 1024))
    assert traffic.hbm_bytes(text) == pytest.approx(3 * size, rel=0.01)
