"""FLOPs of a traced function: the multiplications and additions of its matrix products and convolutions.

The compiler's own count (`cost_analysis`) covers every operation except library calls, and counts the body of a loop
once; the benchmark reports both. Both depend on the backend: on a CPU, wide convolutions take a quarter of the
multiplications (`networks/winograd.py`).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.extend import core

_REMAT = ("checkpoint", "remat", "remat2")  # jax.checkpoint, by jax's version
_CALLS = ("pjit", "jit", "scan", "cond")  # equations that call functions


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


def count_gradient(loss: Callable[..., Any], *args: Any, has_aux: bool = False) -> int:
    """FLOPs of the value and the gradient of a loss, without those of recomputing activations (jax.checkpoint).

    Args:
      loss: a function that jax can trace and differentiate with respect to its first argument.
      *args: its arguments, or their shapes.
      has_aux: whether it returns (loss, other outputs).
    """
    traced, shapes = jax.make_jaxpr(lambda *args: loss(*args)[0] if has_aux else loss(*args), return_shape=True)(*args)
    assert shapes.shape == (), "a loss is a scalar"

    def stored(*args: Any) -> jax.Array:
        return _evaluate(traced.jaxpr, traced.consts, *jax.tree.leaves(args))[0]

    return count(jax.value_and_grad(stored), *args)


def _evaluate(jaxpr: core.Jaxpr, consts: Any, *args: Any) -> list[Any]:
    """Evaluates a traced function, with all activations stored."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for equation in jaxpr.eqns:
        named = list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, core.Literal)))
        if equation.primitive.name in _REMAT:
            inputs = [atom.val if isinstance(atom, core.Literal) else values[atom] for atom in equation.invars]
            outputs = _evaluate(equation.params["jaxpr"], (), *inputs)
        else:
            if equation.primitive.name in _CALLS:
                params = {name: _stored(value) for name, value in equation.params.items()}
                equation = equation.replace(params=params)
            alone = core.Jaxpr((), named, equation.outvars, [equation], jaxpr.effects, jaxpr.debug_info)
            outputs = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*(values[atom] for atom in named))
        values |= zip(equation.outvars, outputs, strict=True)
    return [atom.val if isinstance(atom, core.Literal) else values[atom] for atom in jaxpr.outvars]


def _stored(parameter: Any) -> Any:
    """A parameter of an equation; functions in it become ones with all activations stored."""
    if isinstance(parameter, tuple):
        return tuple(map(_stored, parameter))
    if not isinstance(parameter, core.ClosedJaxpr):
        return parameter
    return jax.make_jaxpr(partial(_evaluate, parameter.jaxpr, parameter.consts))(*parameter.in_avals)


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
