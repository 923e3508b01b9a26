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


COLLECTIVES = """
%inner (p: f32[5]) -> f32[5] {
  %p = f32[5]{0} parameter(0)
  ROOT %all-reduce.7 = f32[5]{0} all-reduce(%p), replica_groups={{0,1},{2,3}}
}

%body (state: f32[5]) -> f32[5] {
  %state = f32[5]{0} parameter(0)
  ROOT %all-reduce.8 = f32[5]{0} all-reduce(%state), replica_groups=[1,4]<=[4]
}

ENTRY %main (a: f32[8,4], b: bf16[3]) -> f32[5] {
  %all-reduce.1 = (f32[8,4]{1,0}, bf16[3]{0}) all-reduce(%a, %b), replica_groups={{0,1,2,3}}
  %all-reduce-start.2 = f32[5]{0} all-reduce-start(%c), replica_groups={{0,1,2,3}}
  %all-reduce-done.2 = f32[5]{0} all-reduce-done(%all-reduce-start.2)
  %fusion.3 = f32[5]{0} fusion(%d), kind=kLoop, calls=%inner
  %reduce-scatter.5 = f32[6]{0} reduce-scatter(%f), dimensions={0}
  %all-gather.4 = s32[16]{0} all-gather(%e), dimensions={0}
  %all-gather-start.6 = (s32[3]{0}, s32[12]{0}) all-gather-start(%g), dimensions={0}
  %collective-permute-start.9 = (f32[7]{0}, f32[7]{0}, u32[], u32[]) collective-permute-start(%h)
  ROOT %loop = f32[5]{0} while(%i), condition=%less, body=%body, backend_config={"known_trip_count":{"n":"10"}}
}
"""


def test_a_device_sends_its_part_of_every_collective():
    reduced = 8 * 4 * 4 + 3 * 2 + 5 * 4 + 10 * 5 * 4  # the last in a loop of ten iterations
    gathered, scattered = (16 + 12) * 4, 4 * 6 * 4
    pairs = 2 * (5 * 4) / 2  # an all-reduction in groups of two
    permuted = 7 * 4
    expected = 0.75 * (2 * reduced + gathered + scattered) + pairs + permuted
    assert traffic.exchanged_bytes(COLLECTIVES, 4) == pytest.approx(expected)


def test_a_conditional_counts_as_its_most_expensive_branch():
    program = """
%large (p: f32[1024,128]) -> f32[1024,128] {
  %p = f32[1024,128]{1,0} parameter(0)
  ROOT %negate = f32[1024,128]{1,0} negate(%p)
}

%small (p: f32[1024,128]) -> f32[1024,128] {
  ROOT %p = f32[1024,128]{1,0} parameter(0)
}

ENTRY %main (a: pred[], b: f32[1024,128]) -> f32[1024,128] {
  %a = pred[] parameter(0)
  %b = f32[1024,128]{1,0} parameter(1)
  ROOT %choice = f32[1024,128]{1,0} conditional(%a, %b, %b), BRANCHES
}
"""
    for branches in (
        "branch_computations={%small, %large}",
        "true_computation=%large, false_computation=%small",
    ):
        assert traffic.hbm_bytes(program.replace("BRANCHES", branches)) == 2 * 1024 * 128 * 4


def test_a_loop_of_unknown_length_is_counted_once_with_a_warning(caplog):
    endless = PROGRAM.replace("direction=LT", "direction=NE")
    with caplog.at_level("WARNING", logger="bitdiff"):
        assert traffic.hbm_bytes(PROGRAM) - traffic.hbm_bytes(endless) == 4 * 2 * 256 * 128 * 4
    assert "is counted once" in caplog.text


def test_operands_in_the_type_of_an_asynchronous_instruction_count_once():
    program = """
ENTRY %main (a: f32[1024]) -> f32[1024] {
  %a = f32[1024]{0} parameter(0)
  %begin = ((f32[1024]{0}), f32[1024]{0}, u32[]{:S(2)}) async-start(%a), calls=%inner
  ROOT %end = f32[1024]{0} async-done(%begin)
}
"""
    assert traffic.hbm_bytes(program) == 2 * 1024 * 4


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
