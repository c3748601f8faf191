"""Whether a shift of the inputs that the model does not notice changes their explanation."""

from typing import Any

import keras
import numpy as np

from tfrnnx import _keras
from tfrnnx.errors import ConfigError
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.handlers import functional, layer_handlers
from tfrnnx.propagation.methods import Method, get_method
from tfrnnx.sanity.conservation import rounding
from tfrnnx.sanity.outcomes import Chart, Outcome
from tfrnnx.sanity.registry import NotApplicable, checks
from tfrnnx.sanity.subject import Subject

_MAPS = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.SimpleRNNCell,
    keras.layers.LSTMCell,
    keras.layers.GRUCell,
)
_SAME = 1e-3  # how far logits may be from the model's own, as a part of the greatest: rounding


@checks.register("input_invariance")
def input_invariance(subject: Subject, *, shift: float = -0.5) -> Outcome:
    """Input invariance: x + c, with c taken out again by the bias of the first layer.

    f₂(x + c) = f₁(x) for every x, so that both should be explained alike. The number is the median
    over the samples of Σ|R₂ - R₁| / Σ|R₁|, for at single samples rounding can switch a ReLU at its
    kink; passed where it is rounding, half of the digits of the floats. Methods that multiply by
    the input fail by design, since they take 0 for "nothing": what is said is that their maps
    depend on how the data is scaled. The box of a method that is given by its name is shifted, too,
    for it says what values x can take; baselines stay.

    Args:
        subject: what is checked.
        shift: c as a part of max(x) - min(x) over all samples. The paper shifts MNIST from [0, 1]
            to [-1, 0]; half of that leaves 0 inside of the usual boxes, which they ask for.

    Source: Kindermans et al. 2019, "The (un)reliability of saliency methods", section 2.
    """
    subject.only_floats()
    low = min(float(x.min()) for x in subject.xs)
    constant = shift * (max(float(x.max()) for x in subject.xs) - low)
    if not constant:
        raise NotApplicable("all values of x are equal, and the shift is of their range")
    with subject.replica() as replica:
        for layer in _first_layers(replica.model):
            _compensate(layer, constant)
        method = _moved(subject, constant)
        explainer = Explainer(replica.model, method, jit_compile=False)
        moved = [(x + constant).astype(x.dtype) for x in subject.xs]
        after = subject.explain(moved, explainer)
    for a, b in zip(
        keras.tree.flatten(subject.explained.logits), keras.tree.flatten(after.logits), strict=True
    ):
        if np.abs(a - b).max(initial=0) > _SAME * max(1, np.abs(a).max(initial=0)):
            raise NotApplicable(
                "the first layer's bias cannot take out the shift, as where it pads with zeros or "
                "reads a mask off its values"
            )
    rows = subject.rows_of(after)
    sizes = np.array([np.abs(row).sum() for row in subject.rows])
    changes = np.array([np.abs(b - a).sum() for a, b in zip(subject.rows, rows, strict=True)])
    parts = np.divide(changes, sizes, out=changes.copy(), where=sizes > 0)
    return Outcome.judged(
        float(np.median(parts)),
        below=rounding(subject),
        about=f"median of Σ|change of R| / Σ|R|, x shifted by {constant:.3g} and the first bias "
        "against it",
        numbers={"samples": parts, "shift": constant},
        chart=Chart({"change": list(parts)}, "Σ|change of R| / Σ|R|"),
    )


def _moved(subject: Subject, constant: float) -> Method:
    """Return the method for values that are shifted."""
    if subject.method.box is None:
        return subject.method
    low, high = subject.method.box
    if subject.parameters is None:
        raise NotApplicable("the method has a box, and no name by which it is made with another")
    bounds = {"low": low + constant, "high": high + constant}
    try:
        return get_method(subject.method.name, **(subject.parameters | bounds))
    except ConfigError as error:  # a method without these parameters, or a box that must hold 0
        raise NotApplicable(f"the method's box cannot be shifted: {error}") from None


def _first_layers(model: keras.Model) -> list[Any]:
    """Return the layers that read the model's inputs, as they are or moved to other places.

    Raises:
        NotApplicable: where one of them has no bias that is free.
    """
    graph = functional(model)
    moved = {id(x) for x in graph.inputs}
    found = []
    for operation in graph.operations:
        tensors = [x for call in _keras.inputs_of(operation) for x in call]
        if not any(id(x) in moved for x in tensors):
            continue
        handler = layer_handlers[type(operation)] if type(operation) in layer_handlers else None
        if handler is not None and handler.moves_values:
            moved |= {id(x) for x in keras.tree.flatten(operation.output)}
        elif _maps_of(operation) is None:
            raise NotApplicable(
                f"the first layer, {operation.name} ({type(operation).__name__}), has no bias that "
                "is free to take out a shift"
            )
        else:
            found.append(operation)
    if not found:
        raise NotApplicable("the inputs are read in the model's own code, not by a layer")
    return found


def _maps_of(layer: Any) -> list[Any] | None:
    """Return what in a layer reads x through a kernel, with a bias; None where something else."""
    if isinstance(layer, keras.layers.Bidirectional):
        both = [_maps_of(layer.forward_layer), _maps_of(layer.backward_layer)]
        return None if None in both else [each for some in both for each in some or []]
    if isinstance(layer, keras.layers.TimeDistributed):
        return _maps_of(layer.layer)
    inner = layer.cell if isinstance(layer, keras.layers.RNN) else layer
    fits = isinstance(inner, _MAPS) and getattr(inner, "bias", None) is not None
    return [inner] if fits else None


def _compensate(layer: Any, constant: float) -> None:
    """Have a layer compute of x + c what it computed of x: b' = b - c Σ_i w_ij."""
    for inner in _maps_of(layer) or []:
        kernel = np.asarray(inner.kernel, np.float64)
        share = constant * kernel.reshape(-1, kernel.shape[-1]).sum(0)
        bias = np.array(inner.bias, np.float64)
        if bias.ndim == 2:  # of a GRU, the second row is that of the state's map
            bias[0] -= share
        else:
            bias -= share
        inner.bias.assign(bias)
