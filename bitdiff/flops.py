"""Counting by hand: the multiplications and additions of matrix products and convolutions in a traced function.

The compiler's own count (`cost_analysis`) covers every operation, but not what it hands to a library, and it takes
the body of a loop for one pass; the two stand side by side in the benchmark. Both count what is computed where they
run: on a CPU wide convolutions take a quarter of the products (`networks/winograd.py`).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def count(function: Callable[..., Any], *args: Any) -> int:
    """FLOPs of one call: 2 M N K of a product, 2 outputs x kernel x inputs per group of a convolution.

    Args:
      function: may be traced by jax.
      *args: its arguments, or their shapes as `jax.ShapeDtypeStruct`s.

    Returns:
      The sum over all products and convolutions; a scan counts as often as it repeats, a conditional as its
      costliest branch, a while loop of unknown length as one pass.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_OF.get(equation.primitive.name, _inner)(equation) for equation in jaxpr.eqns)


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    out_features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    # The gradient of a strided convolution has holes in its input; a product with the zero of a hole does not count.
    holes = math.prod(equation.params["lhs_dilation"])
    return 2 * equation.outvars[0].aval.size * (math.prod(kernel) // out_features) // holes


def _scan(equation: Any) -> int:
    return equation.params["length"] * _inner(equation)


def _cond(equation: Any) -> int:
    return max(_count(branch.jaxpr) for branch in equation.params["branches"])


def _inner(equation: Any) -> int:
    """Of the functions that an equation calls, whatever its parameters name them."""
    inner = [getattr(parameter, "jaxpr", parameter) for parameter in equation.params.values()]
    return sum(_count(jaxpr) for jaxpr in inner if hasattr(jaxpr, "eqns"))


_OF = {"dot_general": _product, "conv_general_dilated": _convolution, "scan": _scan, "cond": _cond}
