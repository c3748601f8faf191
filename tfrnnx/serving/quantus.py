"""Explanations in the form that Quantus asks for, which evaluates explanations."""

import inspect
from typing import Any

import keras
import numpy as np

from tfrnnx.explaining.arrays import Inputs
from tfrnnx.explaining.batches import explain
from tfrnnx.explaining.targets import AnyTarget
from tfrnnx.propagation.methods import Method, methods


def quantus_explain(
    model: keras.Model,
    inputs: Inputs,
    targets: AnyTarget = None,
    method: str | Method = "lrp_epsilon",
    **kwargs: Any,
) -> np.ndarray:
    """Return the relevance of the targets, as Quantus calls for it: give it as `explain_func`.

    The model's weights are read at every call, so that metrics which change them, or hand over
    clones, explain what they have made.

    For arrays (batch, time, feature), tell Quantus `channel_first=True`: it then hands them on as
    they are. With False it moves the features to the front, where neither the model nor the
    relevance has them (Quantus 0.6 refuses it, or, with as many steps as features, mistakes one
    for the other). It takes the time steps for channels, so that some of its metrics want sizes,
    such as `subset_size`, below the number of features.

    Tell it `softmax=False` too, where a metric takes that: logits are explained.

    Args:
        model: as for `tfrnnx.explain`.
        inputs: (batch, ...) of the model's input shape.
        targets: ints (batch,), the classes to explain. None: the predicted ones.
        method: the name of a method, or a `Method`.
        **kwargs: parameters of the method, `batch_size` and `mask`. Others are swallowed, such as
            the `device` that Quantus adds; so are misspelled ones.

    Returns:
        An array of the inputs' shape.

    Raises:
        InputError, UnknownNameError, ConfigError, UnsupportedLayerError: as `tfrnnx.explain`.

    Source: Hedström et al. 2023, "Quantus: an explainable AI toolkit for responsible evaluation of
    neural network explanations and beyond".

    Examples:
        >>> model = keras.Sequential([keras.Input((9, 4)), keras.layers.LSTM(8)])
        >>> x = np.ones((5, 9, 4), "float32")
        >>> tfrnnx.quantus_explain(model, x, np.zeros(5, int), "lrp_epsilon").shape
        (5, 9, 4)
        >>> import quantus  # doctest: +SKIP
        >>> metric = quantus.FaithfulnessCorrelation(return_aggregate=True)  # doctest: +SKIP
        >>> metric(  # doctest: +SKIP
        ...     model=model,
        ...     x_batch=x,
        ...     y_batch=y,
        ...     channel_first=True,
        ...     softmax=False,
        ...     explain_func=tfrnnx.quantus_explain,
        ...     explain_func_kwargs={"method": "lrp_epsilon", "epsilon": 0.01},
        ... )
    """
    accepted = {"batch_size", "mask"}
    if not isinstance(method, Method):
        accepted |= set(inspect.signature(methods[method]).parameters)
    chosen = {name: value for name, value in kwargs.items() if name in accepted}
    return np.asarray(explain(model, inputs, method, targets, verbose=0, **chosen))
