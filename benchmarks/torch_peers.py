"""Captum and zennit on torch models with a Keras model's weights."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from types import ModuleType

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import nn

_LARGEST_DEVIATION = 1e-4
_TRIES = 2


def quickest(function: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """Return the function with one thread or with all, whichever is quicker on this machine.

    Where other programs run, torch's threads wait for each other: ten times slower was seen.
    """

    def run(threads: int) -> np.ndarray:
        torch.set_num_threads(threads)
        return function()

    def seconds(threads: int) -> float:
        start = time.perf_counter()
        run(threads)
        return time.perf_counter() - start

    function()
    choices = (1, len(os.sched_getaffinity(0)))
    best = min(choices, key=lambda threads: min(seconds(threads) for _ in range(_TRIES)))
    return partial(run, best)


def _tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x))


def _check_logits(module: nn.Module, model: keras.Model, x: torch.Tensor, inputs: tf.Tensor):
    with torch.no_grad():
        logits = module(x).numpy()
    np.testing.assert_allclose(logits, model(inputs).numpy(), atol=_LARGEST_DEVIATION)
    return torch.from_numpy(logits.argmax(-1))


class _LstmModule(nn.Module):
    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        kernel, recurrent, bias = (_tensor(w.T) for w in model.layers[0].get_weights())
        self.lstm = nn.LSTM(kernel.shape[1], recurrent.shape[1], batch_first=True)
        weight, logits_bias = (_tensor(w.T) for w in model.layers[1].get_weights())
        self.logits = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():  # the gates' order is the same: input, forget, candidate, output
            self.lstm.weight_ih_l0.copy_(kernel)
            self.lstm.weight_hh_l0.copy_(recurrent)
            self.lstm.bias_ih_l0.copy_(bias)
            self.lstm.bias_hh_l0.zero_()
            self.logits.weight.copy_(weight)
            self.logits.bias.copy_(logits_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(self.lstm(x)[0][:, -1])


class Lstm:
    """Captum on a torch LSTM: a model of an LSTM and a Dense layer, and its inputs.

    Raises:
        AssertionError: if the torch model's logits are not the Keras model's.
    """

    def __init__(self, model: keras.Model, x: tf.Tensor) -> None:
        from captum.attr import DeepLift, IntegratedGradients

        module = _LstmModule(model).eval()
        self._x = _tensor(x.numpy())
        self._target = _check_logits(module, model, self._x, x)
        self._integrated, self._deep_lift = IntegratedGradients(module), DeepLift(module)

    def integrated_gradients(self, points: int) -> np.ndarray:
        """Return integrated gradients from zeros, at the points of a Gauss-Legendre quadrature."""
        found = self._integrated.attribute(
            self._x, target=self._target, n_steps=points, method="gausslegendre"
        )
        return found.detach().numpy()

    def deep_lift(self) -> np.ndarray:
        """Return DeepLIFT's attribution, from zeros."""
        return self._deep_lift.attribute(self._x, target=self._target).detach().numpy()


class Convolutional:
    """Zennit on a torch model of convolutions and dense layers, all with ReLU, and its inputs.

    Raises:
        AssertionError: if the torch model's logits are not the Keras model's.
    """

    def __init__(self, model: keras.Model, x: tf.Tensor) -> None:
        self._module = nn.Sequential(*self._layers(model)).eval()
        self._x = _tensor(x.numpy().transpose(0, 3, 1, 2))
        self._target = _check_logits(self._module, model, self._x, x)

    @staticmethod
    def _layers(model: keras.Model) -> list[nn.Module]:
        layers: list[nn.Module] = []
        shape: tuple[int, ...] = ()
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                kernel, bias = layer.get_weights()
                made = nn.Conv2d(*kernel.shape[2:], kernel.shape[0], layer.strides)
                weight = kernel.transpose(3, 2, 0, 1)
            elif isinstance(layer, keras.layers.Dense):
                kernel, bias = layer.get_weights()
                made = nn.Linear(*kernel.shape)
                weight = kernel.T
                if shape:  # flattened: channels last in Keras, first in torch
                    weight = weight.reshape(-1, *shape).transpose(0, 3, 1, 2)
                    weight, shape = weight.reshape(len(weight), -1), ()
            else:
                shape = layer.input.shape[1:]
                layers.append(nn.Flatten())
                continue
            with torch.no_grad():
                made.weight.copy_(_tensor(weight))
                made.bias.copy_(_tensor(bias))
            layers += [made, nn.ReLU()]
        return layers

    def epsilon_plus(self) -> np.ndarray:
        """Return the relevance of the predicted classes' logits by zennit's EpsilonPlus."""
        _stand_in_for_torchvision()
        from zennit.attribution import Gradient
        from zennit.composites import EpsilonPlus

        with Gradient(self._module, EpsilonPlus()) as attributor:
            start = nn.functional.one_hot(self._target, 10)
            _, found = attributor(self._x, lambda logits: logits.detach() * start)
        return found.numpy().transpose(0, 2, 3, 1)


def _stand_in_for_torchvision() -> None:
    """Let zennit import two classes that it only names, where there is no torchvision.

    Beside the torch that is installed here, PyPI's torchvision does not import.
    """
    if "torchvision" in sys.modules or find_spec("torchvision"):
        return
    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
        sys.modules[name] = ModuleType(name)
    resnet = sys.modules["torchvision.models.resnet"]
    for name in ("Bottleneck", "BasicBlock"):
        setattr(resnet, name, type(name, (nn.Module,), {}))
