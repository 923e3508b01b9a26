"""FLOPs of a traced function: the multiplications and additions of its matrix products and convolutions.

The compiler's own count (`cost_analysis`) covers every operation except library calls, and counts the body of a loop
once; the benchmark reports both. Both depend on the backend: on a CPU, wide convolutions take a quarter of the
multiplications (`networks/winograd.py`).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def count(function: Callable[..., Any], *args: Any) -> int:
    """FLOPs of one call: 2 M N K per matrix product, 2 x outputs x kernel size x inputs per group per convolution.

    Args:
      function: a function that jax can trace.
      *args: its arguments, or their shapes as `jax.ShapeDtypeStruct`s.

    Returns:
      The sum over all products and convolutions. A scan counts once per iteration, a conditional as its most
      expensive branch, and a while loop of unknown length as one iteration.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_COUNTERS.get(equation.primitive.name, _inner)(equation) for equation in jaxpr.eqns)


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    out_features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    # The gradient of a strided convolution has a dilated input; products with the inserted zeros do not count.
    holes = math.prod(equation.params["lhs_dilation"])
    return 2 * equation.outvars[0].aval.size * (math.prod(kernel) // out_features) // holes


def _scan(equation: Any) -> int:
    return equation.params["length"] * _inner(equation)


def _cond(equation: Any) -> int:
    return max(_count(branch.jaxpr) for branch in equation.params["branches"])


def _inner(equation: Any) -> int:
    """FLOPs of the functions that an equation calls, whatever its parameters are named."""
    inner = [getattr(parameter, "jaxpr", parameter) for parameter in equation.params.values()]
    return sum(_count(jaxpr) for jaxpr in inner if hasattr(jaxpr, "eqns"))


_COUNTERS = {"dot_general": _product, "conv_general_dilated": _convolution, "scan": _scan, "cond": _cond}
