"""Methods that read a gradient: as it is, changed at ReLUs, or the mean over several points."""

from typing import Any

import tensorflow as tf

from tfrnnx.checks import number, whole_number
from tfrnnx.errors import ConfigError
from tfrnnx.propagation.methods import Method, as_it_is, methods
from tfrnnx.propagation.sampling import Background, Noise, Path


def _squared(arrived: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return tf.square(arrived)


def _times_value(arrived: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return arrived * value


@methods.register("gradient")
def gradient() -> Method:
    """The signed gradient of the target logit: R_i = ∂f/∂x_i."""
    return Method("gradient")


@methods.register("sa")
def sensitivity_analysis() -> Method:
    """Sensitivity Analysis: R_i = (∂f/∂x_i)².

    Source: Simonyan et al. 2013, "Deep inside convolutional networks".
    """
    return Method("sa", _squared)


@methods.register("gb")
def guided_backprop(signed: bool = False) -> Method:
    """Guided Backprop: the gradient, but a ReLU passes g only where z > 0 and g > 0.

    Args:
        signed: return the signed result; by default it is squared at the input, as the thesis
            does.

    Source: Springenberg et al. 2014, "Striving for simplicity: the all convolutional net".
    """
    return Method("gb", as_it_is if signed else _squared, gradient="guided")


@methods.register("guided_gradient")
def guided_gradient() -> Method:
    """Guided Backprop with its sign: `gb` with `signed=True`.

    Source: Springenberg et al. 2014.
    """
    return Method("guided_gradient", gradient="guided")


@methods.register("deconvnet")
def deconvnet() -> Method:
    """DeconvNet: the gradient, but a ReLU passes g only where g > 0, wherever z is.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks".
    """
    return Method("deconvnet", gradient="deconvnet")


@methods.register("grad_x_input")
def gradient_times_input() -> Method:
    """Gradient x input: R_i = x_i ∂f/∂x_i.

    Source: Shrikumar et al. 2016, "Not just a black box".
    """
    return Method("grad_x_input", _times_value)


@methods.register("integrated_gradients")
def integrated_gradients(steps: int = 50, baseline: Any = None) -> Method:
    """Integrated gradients: R_i = (x_i - b_i) ∫₀¹ ∂f(b + α (x - b))/∂x_i dα.

    The relevances of a sample sum to f(x) - f(b), up to the error of a Gauss-Legendre quadrature.

    Args:
        steps: points of the quadrature, >= 1.
        baseline: b: a number, or an array that broadcasts to x; of tokens where x is of tokens;
            a list with one for each of several inputs. None: zeros, also in the place of
            embeddings.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks", equation 1.

    Raises:
        ConfigError: unless steps >= 1.
    """
    steps = whole_number("steps", steps, minimum=1)
    return Method("integrated_gradients", sampler=Path(steps, baseline))


@methods.register("smoothgrad")
def smoothgrad(noise: float = 0.15, samples: int = 25, seed: int = 0) -> Method:
    """SmoothGrad: the mean of the gradients at x + n, n normal of mean 0.

    What is drawn depends on the seed and on a sample's place in its batch.

    Args:
        noise: standard deviation of n, as a part of max(x) - min(x) of each sample; >= 0.
        samples: how many, >= 1.
        seed: of the noise, >= 0.

    Source: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".

    Raises:
        ConfigError: for a parameter out of its range.
    """
    count = whole_number("samples", samples, minimum=1)
    sampler = Noise(count, number("noise", noise), _seed(seed))
    return Method("smoothgrad", sampler=sampler)


@methods.register("expected_gradients")
def expected_gradients(background: Any, samples: int = 100, seed: int = 0) -> Method:
    """Expected gradients: the mean of (x - b) ∂f(b + α (x - b)), b of a background, α in (0, 1).

    What is drawn depends on the seed and on a sample's place in its batch.

    Args:
        background: (n, ...) samples as x; a list with one array for each of several inputs.
        samples: how many b and α are drawn for every sample, >= 1.
        seed: of the draws, >= 0.

    Source: Erion et al. 2021, "Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients", equation 2.

    Raises:
        ConfigError: for a parameter out of its range.
    """
    count = whole_number("samples", samples, minimum=1)
    return Method("expected_gradients", sampler=Background(count, background, _seed(seed)))


def _seed(seed: int) -> int:
    seed = whole_number("seed", seed, minimum=0)
    if seed >= 2**31:
        raise ConfigError(f"Expected seed to be below 2³¹. Received: {seed}")
    return seed
