"""Handlers of `keras.ops` on symbolic tensors, such as `x + y`, `x[:, -1]` or `ops.mean(x, 1)`.

Keras's classes of operations have no public names: each is found by what the public function makes
of a symbolic tensor. Operations that are run alike have one handler.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import _keras, primitives
from tfrnnx.handlers.activations import activated
from tfrnnx.handlers.registry import layer_handlers, unsupported
from tfrnnx.primitives.scope import mark_moved, mark_positive, reading, scope

ops = keras.ops

Handler = Callable[..., Any]


# ---------------------------------------------------------------------------------------------
# Which arguments are constants


def is_live(x: Any) -> bool:
    """Return whether an argument depends on the model's input: others are constants."""
    active = scope()
    assert active is not None
    return tf.is_tensor(x) and x.dtype.is_floating and not active.record.facts(x).constant


def run_on_constants(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Return what an operation makes of constants, such as masks: no relevance flows to those.

    Raises:
        UnsupportedLayerError: where other numbers than truth values are made of the numbers of
            tokens, which are explained where an Embedding reads them.
    """
    active = scope()
    assert active is not None
    outputs = operation(*args, **kwargs)
    flat = [x for x in keras.tree.flatten(outputs) if tf.is_tensor(x)]
    read = [x for x in keras.tree.flatten((args, kwargs)) if tf.is_tensor(x)]
    of_tokens = any(
        active.record.facts(x).tokens is not None and not x.dtype.is_bool for x in read
    )
    if of_tokens and any(not x.dtype.is_bool for x in flat):
        raise unsupported(
            operation, " that computes with an input of ints; give it floats, or embed the ints"
        )
    return keras.tree.map_structure(
        lambda x: primitives.constant(x) if x.dtype.is_floating else x, outputs
    )


def _handler(run: Handler, keeps_order: bool) -> Handler:
    """Return the handler of an operation of which some arguments may be constants."""

    def run_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
        active = scope()
        assert active is not None
        # A weight is read here, each time that the model is run.
        args, kwargs = keras.tree.map_structure(
            lambda x: tf.convert_to_tensor(x) if isinstance(x, keras.Variable) else x,
            (args, kwargs),
        )
        flat = keras.tree.flatten((args, kwargs))
        for x, symbolic in zip(flat, _keras.symbolic_arguments(operation), strict=True):
            if tf.is_tensor(x) and not symbolic:
                active.record.note(x, constant=True)
        live = [x for x in flat if is_live(x)]
        if not live and not keeps_order:
            return run_on_constants(operation, args, kwargs)
        with reading(*live):
            return run(operation, *args, **kwargs)

    return run_operation


def class_of(operation: Callable[..., Any], *shapes: tuple[int | None, ...]) -> type:
    """Return Keras's class of an operation."""
    outputs = operation(*(keras.KerasTensor(shape, "float32") for shape in shapes))
    return type(_keras.operation_of(keras.tree.flatten(outputs)[0]))


_A, _B = (2, 3), (2, 2, 2)


def register(
    *examples: Callable[..., Any],
    shapes: Sequence[tuple[int | None, ...]] = (_A,),
    moves_values: bool = False,
    keeps_order: bool = False,
) -> Callable[[Handler], Handler]:
    """Return a decorator: what it decorates runs the operations that these functions make.

    Args:
        *examples: functions of symbolic tensors, each of which makes one operation. Keras has
            several public functions of some operations.
        shapes: of the tensors.
        moves_values: as of `layer_handlers`.
        keeps_order: whether the outputs are the values of one tensor in the same order: so it
            takes tokens, too.
    """

    def decorate(run: Handler) -> Handler:
        for kind in dict.fromkeys(class_of(example, *shapes) for example in examples):
            layer_handlers.register(kind, moves_values=moves_values)(_handler(run, keeps_order))
        return run

    return decorate


def functions(names: str) -> list[Callable[..., Any]]:
    """Return the functions of `keras.ops` of these names, as far as this Keras has them."""
    return [getattr(ops, name) for name in names.split() if hasattr(ops, name)]


# ---------------------------------------------------------------------------------------------
# Element by element

ELEMENTWISE = functions(
    "abs arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil celu cos cosh deg2rad elu erf"
    " erfinv exp2 expm1 fabs floor gelu hard_shrink hard_silu hard_tanh leaky_relu log log10 log1p"
    " log2 log_sigmoid nan_to_num negative rad2deg reciprocal round rsqrt selu sign silu sin sinc"
    " sinh soft_shrink softsign sqrt square tan tanh tanh_shrink threshold trunc"
)
POSITIVE = functions(
    "exp hard_sigmoid softplus sparse_plus sparse_sigmoid squareplus"
)
