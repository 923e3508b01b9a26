"""The isotropic Gaussian distribution on rotations, SO(3) (Nikolayev and Savyolov 1997; Leach et al. 2022).

A rotation by an angle omega about a uniformly distributed axis has the density f(omega) relative to uniformly
distributed rotations, with f(omega) = sum over l of (2 l + 1) exp(-l (l + 1) eps^2) sin((l + 1/2) omega) / sin(omega /
2). For small eps, the rotation vector is normally distributed with the standard deviation sqrt(2) eps per component.

Two forms of the series are exact: the one above converges fast for large eps, and its Poisson summation for small eps.
"""

import jax
import jax.numpy as jnp

_SWITCH = 1.0  # the eps at which both forms need few terms
_DEGREES = 8  # at eps >= 1, the next term is below exp(-66)
_IMAGES = 3  # at eps <= 1, the next term is below exp(-100), relative to the first
_GRID = 1_024  # angles at which the cumulative distribution is evaluated
_WIDTHS = 12.0  # at small eps, angles above 12 eps have a probability below 1e-14


def density(omega: jax.typing.ArrayLike, eps: jax.typing.ArrayLike) -> jax.Array:
    """f(omega), the density relative to uniformly distributed rotations; omega in [0, pi], eps > 0, broadcast."""
    return jnp.exp(log_density(omega, eps))


def angle_density(omega: jax.typing.ArrayLike, eps: jax.typing.ArrayLike) -> jax.Array:
    """f(omega) (1 - cos omega) / pi, the density of the angle, which integrates to 1 over [0, pi]."""
    return density(omega, eps) * (1.0 - jnp.cos(jnp.asarray(omega))) / jnp.pi


def log_density(omega: jax.typing.ArrayLike, eps: jax.typing.ArrayLike) -> jax.Array:
    """log f(omega); omega in [0, pi], eps > 0, broadcast."""
    omega, eps = jnp.broadcast_arrays(jnp.asarray(omega, float), jnp.asarray(eps, float))
    large, small = jnp.maximum(eps, _SWITCH), jnp.minimum(eps, _SWITCH)  # each form sees only eps that suit it
    value, _ = _series(omega, large)
    bracket, _ = _images(omega, small)
    front = jnp.log(0.5 * jnp.sqrt(jnp.pi)) + 0.25 * small**2 - 3.0 * jnp.log(small) - (0.5 * omega / small) ** 2
    by_images = front - jnp.log(0.5 * jnp.sinc(0.5 * omega / jnp.pi)) + jnp.log(bracket)
    return jnp.where(eps >= _SWITCH, jnp.log(value), by_images)


def score(omega: jax.typing.ArrayLike, eps: jax.typing.ArrayLike) -> jax.Array:
    """The derivative of log f with respect to omega; omega in [0, pi], eps > 0, broadcast."""
    omega, eps = jnp.broadcast_arrays(jnp.asarray(omega, float), jnp.asarray(eps, float))
    large, small = jnp.maximum(eps, _SWITCH), jnp.minimum(eps, _SWITCH)
    value, slope = _series(omega, large)
    bracket, bracket_slope = _images(omega, small)
    by_images = -0.5 * omega / small**2 + _log_inverse_sinc_slope(omega) + bracket_slope / bracket
    return jnp.where(eps >= _SWITCH, slope / value, by_images)


def score_norm(eps: jax.typing.ArrayLike) -> jax.Array:
    """The root mean square of `score` over the angles drawn with eps [...]."""
    eps = jnp.asarray(eps, float)
    omega, weight = _angles(eps)
    return jnp.sqrt(jnp.sum(weight * score(omega, eps[..., None]) ** 2, axis=-1))


def draw(key: jax.Array, eps: jax.typing.ArrayLike) -> jax.Array:
    """A random rotation vector float32 [3]: its direction is the axis, its length the angle; eps is a scalar."""
    angle_key, axis_key = jax.random.split(key)
    omega, weight = _angles(jnp.asarray(eps, float))
    edges = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weight)])
    step = omega[1] - omega[0]
    angle = jnp.interp(jax.random.uniform(angle_key), edges, jnp.arange(_GRID + 1) * step)
    axis = jax.random.normal(axis_key, (3,))
    return angle * axis / jnp.linalg.norm(axis)


def to_matrix(vector: jax.Array) -> jax.Array:
    """The rotation matrices [..., 3, 3] of rotation vectors [..., 3] (Rodrigues' formula)."""
    squared = jnp.sum(vector**2, axis=-1)[..., None, None]
    tiny = squared < 1e-8
    angle = jnp.sqrt(jnp.where(tiny, 1.0, squared))
    sine = jnp.where(tiny, 1.0 - squared / 6.0, jnp.sin(angle) / angle)
    cosine = jnp.where(tiny, 0.5 - squared / 24.0, (1.0 - jnp.cos(angle)) / angle**2)
    x, y, z = (vector[..., i] for i in range(3))
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vector.shape[:-1], 3, 3)
    # In reduced precision, the matrix would not be orthogonal.
    return jnp.eye(3) + sine * cross + cosine * jnp.matmul(cross, cross, precision="highest")


def _angles(eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The midpoints of equal intervals of angles [..., N], and their probabilities."""
    most = jnp.minimum(_WIDTHS * eps, jnp.pi)[..., None]
    omega = (jnp.arange(_GRID) + 0.5) / _GRID * most
    weight = angle_density(omega, eps[..., None])
    return omega, weight / jnp.sum(weight, axis=-1, keepdims=True)


def _series(omega: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """f(omega) and its derivative.

    Each term has the ratio sin((l + 1/2) omega) / sin(omega / 2) = 1 + 2 (cos(omega) + ... + cos(l omega)).
    """
    terms = jnp.stack([(2 * degree + 1) * jnp.exp(-degree * (degree + 1) * eps**2) for degree in range(_DEGREES)])
    value, slope = jnp.sum(terms, axis=0), jnp.zeros_like(omega)
    for m in range(1, _DEGREES):
        rest = 2.0 * jnp.sum(terms[m:], axis=0)
        value += rest * jnp.cos(m * omega)
        slope -= rest * m * jnp.sin(m * omega)
    return value, slope


def _images(omega: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum over images at omega + 2 pi k, relative to that of k = 0, and its derivative.

    Image k and its mirror add (-1)^k exp(-a) (2 cosh(b omega) - 4 pi k / omega sinh(b omega)), with a = (pi k / eps)^2
    and b = pi k / eps^2.
    """
    value, slope = jnp.ones_like(omega), jnp.zeros_like(omega)
    near = omega < 0.05  # where the differences below cancel in float32, their Taylor series are used
    safe = jnp.where(near, 1.0, omega)
    for k in range(1, _IMAGES + 1):
        a, b = (jnp.pi * k / eps) ** 2, jnp.pi * k / eps**2
        up, down = jnp.exp(b * omega - a), jnp.exp(-b * omega - a)
        cosh, sinh = 0.5 * (up + down), 0.5 * (up - down)
        series = b * jnp.exp(-a) * (1.0 + (b * omega) ** 2 / 6.0)
        over = jnp.where(near, series, sinh / safe)  # sinh(b omega) / omega
        series_slope = b**3 * omega * jnp.exp(-a) * (1.0 / 3.0 + (b * omega) ** 2 / 30.0)
        over_slope = jnp.where(near, series_slope, (b * cosh - sinh / safe) / safe)
        sign = (-1.0) ** k
        value += sign * (2.0 * cosh - 4.0 * jnp.pi * k * over)
        slope += sign * (2.0 * b * sinh - 4.0 * jnp.pi * k * over_slope)
    return value, slope


def _log_inverse_sinc_slope(omega: jax.Array) -> jax.Array:
    """The derivative of log(omega / sin(omega / 2)): 1 / omega - cot(omega / 2) / 2."""
    near = omega < 1e-2
    safe = jnp.where(near, 1.0, omega)
    return jnp.where(near, omega / 12.0, 1.0 / safe - 0.5 / jnp.tan(0.5 * safe))
