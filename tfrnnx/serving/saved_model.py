"""Export a model with its explanations, to run where tfrnnx is not installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import OutputError
from tfrnnx.explaining.default import AUTO, default_method
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.inputs import InputSpec, shape_said
from tfrnnx.explaining.targets import Ints, Target, output_names
from tfrnnx.handlers import Text, functional, reads_text
from tfrnnx.propagation.methods import get_method
from tfrnnx.storage.files import atomic

DEFAULT_METHODS = ("sa", "gb", AUTO)

# What endpoints take: the input, or of several a dict by their names.
_X: TypeAlias = tf.Tensor | dict[str, tf.Tensor]


def export(
    model: keras.Model,
    path: str | Path,
    methods: Sequence[str] = DEFAULT_METHODS,
    verify: bool = True,
    **parameters: dict[str, Any],
) -> None:
    """Write a TensorFlow SavedModel that predicts and explains.

    Its endpoints, each for any batch size, are `serve(x)` -> the model's output, and for every
    method `explain_<method>(x)` or `explain_<method>(x, target)` -> a dict of relevance (the
    shape of x), logits (batch, classes) and target, int32 (batch,): the given one, or the
    predicted class. They are attributes of what `tf.saved_model.load` returns, and signatures for
    TensorFlow Serving (`serving_default` is `serve`; `explain_<method>` there is the one without
    target, `explain_<method>_target` the one with target). Where compiling pays, see
    `tfrnnx.Explainer`, `explain_<method>_compiled` takes and gives the same, compiled by XLA for
    every batch size when it first comes up. What is explained is checked as in `tfrnnx.explain`;
    mistakes raise `tf.errors.InvalidArgumentError`.

    Of a model with outputs (batch, steps, classes) the endpoints take a step too, int (batch,):
    `explain_<method>(x, target, step)`, and (x, step=step) for the predicted class; their
    signatures are `explain_<method>` of the last step, and `explain_<method>_target` of target and
    step. Of a model with several inputs, x is a
    dict by their names, and the relevances are `relevance_<input>`. Of a model with several
    outputs, `explain_<method>_<output>` explains one of them, and the logits are
    `logits_<output>`.

    Args:
        model: as for `tfrnnx.Explainer`; of text the endpoints take tokens.
        path: the folder to write; one that is there is replaced at once.
        methods: names of methods; "auto" is the one that fits the model.
        verify: compare what is explained with the model's own outputs, on inputs that are drawn, of
            several lengths where steps are not fixed.
        **parameters: of a method, by its name, such as `dtd={"low": 0.0}`.

    Raises:
        OutputError: if the folder cannot be written.
        UnknownNameError, ConfigError, UnsupportedLayerError, MismatchError: as
            `tfrnnx.Explainer`.

    Examples:
        >>> model = keras.Sequential([keras.Input((9, 4)), keras.layers.LSTM(8, unroll=True)])
        >>> tfrnnx.export(model, "exported", methods=["lrp_epsilon"])
        >>> served = tf.saved_model.load("exported")
        >>> answer = served.explain_lrp_epsilon(np.ones((5, 9, 4), "float32"))
        >>> sorted(answer)
        ['logits', 'relevance', 'target']
    """
    path = Path(path)
    if path.exists() and not (path / "saved_model.pb").is_file() and not _is_empty(path):
        raise OutputError(
            f"Expected {path} to be a SavedModel, an empty folder or not there. Received: "
            "something else; choose another folder"
        )
    if reads_text(model):
        model = Text(model).behind
    module = tf.Module()
    # Endpoints read the variables themselves: what is saved are the weights as they are now.
    module.model_variables = [variable.value for variable in model.variables]
    names = [default_method(model) if name == AUTO else name for name in methods]
    explainers = {
        name: Explainer(model, name, jit_compile=False, **parameters.get(name, {}))
        for name in names
    }
    graph = functional(model)
    if verify:
        for explainer in explainers.values():
            explainer.verify()
    x = _input_specs(graph)

    any_method = get_method("gradient")  # with no box that x must lie in

    def serve(x: _X) -> tf.Tensor | dict[str, tf.Tensor]:
        x = _of_shape(graph, x)
        InputSpec(graph, any_method).check(_as_given(graph, x))
        outputs = keras.tree.flatten(graph(_nested(graph, x), training=False))
        for output in outputs:
            finite = tf.reduce_all(tf.math.is_finite(output))
            tf.debugging.Assert(finite, ["Expected finite outputs. Received: NaN or Inf"])
        return outputs[0] if len(outputs) == 1 else _by_name("output", graph, outputs)

    module.serve = tf.function(serve, input_signature=[x], autograph=False)
    signatures = {"serving_default": module.serve, "serve": module.serve}
    for name, explainer in explainers.items():
        for number in range(len(graph.outputs)):
            suffix = f"_{output_names(graph)[number]}" if len(graph.outputs) > 1 else ""
            endpoint = _endpoint(explainer, graph, number)
            setattr(module, f"explain_{name}{suffix}", endpoint)
            signatures[f"explain_{name}{suffix}"] = endpoint.get_concrete_function(x)
            given = _given_specs(graph, number, tf.int32)
            signatures[f"explain_{name}{suffix}_target"] = endpoint.get_concrete_function(x, *given)
            if explainer.compiling_pays:
                compiled = Explainer(model, name, jit_compile=True, **parameters.get(name, {}))
                compiled_endpoint = _endpoint(compiled, graph, number)
                setattr(module, f"explain_{name}{suffix}_compiled", compiled_endpoint)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with atomic(path) as fresh:
        tf.saved_model.save(module, str(fresh), signatures=signatures, options=options)


def _endpoint(
    explainer: Explainer, graph: keras.Model, number: int
) -> tf.types.experimental.PolymorphicFunction:
    """Return the explainer of an output as a function traced for all it can be called with."""
    steps = len(graph.outputs[number].shape) == 3

    def explained(x: _X, target: Ints | None, step: Ints | None) -> dict[str, tf.Tensor]:
        x = _of_shape(graph, x)
        explanation = explainer.explain(_nested(graph, x), Target(target, step=step, output=number))
        relevance = keras.tree.flatten(_as_list(graph, explanation.relevance))
        logits = keras.tree.flatten(explanation.logits)
        return {
            **_by_name("relevance", graph, relevance, inputs=True),
            **_by_name("logits", graph, logits),
            "target": explanation.target,
        }

    def explain(x: _X, target: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        return explained(x, target, None)

    def explain_step(
        x: _X, target: tf.Tensor | None = None, step: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        return explained(x, target, -1 if step is None else step)

    endpoint = tf.function(explain_step if steps else explain, autograph=False)
    x = _input_specs(graph)
    endpoint.get_concrete_function(x)
    for dtype in (tf.int32, tf.int64):  # TensorFlow's and NumPy's integers
        target, *step = _given_specs(graph, number, dtype)
        endpoint.get_concrete_function(x, target)
        if step:
            endpoint.get_concrete_function(x, target, *step)
            endpoint.get_concrete_function(x, step=step[0])
    return endpoint


def _given_specs(graph: keras.Model, number: int, dtype: tf.DType) -> list[tf.TensorSpec]:
    """Return the specs of the target, and of the step where an output has steps."""
    steps = len(graph.outputs[number].shape) == 3
    names = ["target", "step"] if steps else ["target"]
    return [tf.TensorSpec([None], dtype, name=name) for name in names]


def _of_shape(graph: keras.Model, x: _X) -> _X:
    """Return x, which is of the model's shape, or an assertion says what was expected."""
    checked = []
    for tensor, wanted, name in zip(
        _as_list(graph, x), graph.inputs, _input_names(graph), strict=True
    ):
        # A signature is called with tensors of any shape; that it names one shall not make the
        # comparison a constant.
        given = tf.shape(tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=None))
        sizes = [(axis, size) for axis, size in enumerate(wanted.shape) if size is not None]
        expected = f"Expected {name} to be of shape {shape_said(wanted.shape)}."
        axes, values = [axis for axis, _ in sizes], [size for _, size in sizes]
        same = tf.reduce_all(tf.gather(given, tf.constant(axes, tf.int32)) == values)
        with tf.control_dependencies([tf.debugging.Assert(same, [expected, given])]):
            checked.append(tf.identity(tensor))
    return (
        dict(zip(_input_names(graph), checked, strict=True)) if isinstance(x, dict) else checked[0]
    )


def _as_given(graph: keras.Model, x: _X) -> Any:
    """Return x as an explainer takes it."""
    return _as_list(graph, x) if len(graph.inputs) > 1 else x


def _input_names(graph: keras.Model) -> list[str]:
    return [_keras.operation_of(x).name for x in graph.inputs]


def _input_specs(graph: keras.Model) -> tf.TensorSpec | dict[str, tf.TensorSpec]:
    """Return the spec of x: of several inputs a dict by their names."""
    inputs = graph.inputs
    if len(inputs) == 1:
        return tf.TensorSpec(inputs[0].shape, inputs[0].dtype, name="x")
    names = _input_names(graph)
    return {
        name: tf.TensorSpec(x.shape, x.dtype, name=name)
        for name, x in zip(names, inputs, strict=True)
    }


def _as_list(graph: keras.Model, x: _X) -> list[tf.Tensor]:
    return [x[name] for name in _input_names(graph)] if isinstance(x, dict) else [x]


def _nested(graph: keras.Model, x: _X) -> Any:
    """Return x as the model takes it."""
    return keras.tree.pack_sequence_as(graph.input, _as_list(graph, x))


def _by_name(
    kind: str, graph: keras.Model, tensors: Sequence[tf.Tensor], *, inputs: bool = False
) -> dict[str, tf.Tensor]:
    """Return tensors for the inputs or outputs of a model by their names."""
    if len(tensors) == 1:
        return {kind: tensors[0]}
    names = _input_names(graph) if inputs else output_names(graph)
    return {f"{kind}_{name}": x for name, x in zip(names, tensors, strict=True)}


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
