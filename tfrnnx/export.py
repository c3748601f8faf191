"""Export a model with its explanations, to run where tfrnnx is not installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrnnx.errors import OutputError
from tfrnnx.explain import Explainer
from tfrnnx.files import atomic

DEFAULT_METHODS = ("sa", "gb", "dtd")


def export(
    model: keras.Model,
    path: str | Path,
    methods: Sequence[str] = DEFAULT_METHODS,
    **parameters: dict[str, Any],
) -> None:
    """Write a TensorFlow SavedModel that predicts and explains.

    Its endpoints, each for any batch size, are `serve(x)` -> logits, and for every method
    `explain_<method>(x)` or `explain_<method>(x, target)` -> a dict of relevance (the shape of
    x), logits (batch, classes) and target, int32 (batch,): the given one, or the predicted class.
    They are attributes of what `tf.saved_model.load` returns, and signatures for TensorFlow
    Serving (`serving_default` is `serve`; `explain_<method>` there is the one without target).
    What is explained is checked as in `tfrnnx.explain`; mistakes raise
    `tf.errors.InvalidArgumentError`.

    Args:
        model: as for `tfrnnx.Explainer`.
        path: the folder to write; one that is there is replaced at once.
        methods: names of methods.
        **parameters: of a method, by its name, such as `dtd={"low": 0.0}`.

    Raises:
        OutputError: if the folder cannot be written.
        UnknownNameError, ConfigError, UnsupportedLayerError: as `tfrnnx.Explainer`.
    """
    path = Path(path)
    if path.exists() and not (path / "saved_model.pb").is_file() and not _is_empty(path):
        raise OutputError(
            f"Expected {path} to be a SavedModel, an empty folder or not there. Received: "
            "something else; choose another folder"
        )
    module = tf.Module()
    # Endpoints read the variables themselves: what is saved are the weights as they are now.
    module.model_variables = [variable.value for variable in model.variables]
    explainers = {
        f"explain_{name}": Explainer(model, name, **parameters.get(name, {})) for name in methods
    }
    x = _named(tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype), "x")

    def serve(x: tf.Tensor) -> tf.Tensor:
        return model(x, training=False)

    module.serve = tf.function(serve, input_signature=[x], autograph=False)
    signatures = {"serving_default": module.serve, "serve": module.serve}
    for name, explainer in explainers.items():
        endpoint = _endpoint(explainer)
        setattr(module, name, endpoint)
        signatures[name] = endpoint.get_concrete_function(x)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with atomic(path) as fresh:
        tf.saved_model.save(module, str(fresh), signatures=signatures, options=options)


def _endpoint(explainer: Explainer) -> Any:
    """Return the explainer as a function that has been traced for (x) and for (x, target)."""

    def explain(x: tf.Tensor, target: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        return explainer.explain(x, target)._asdict()

    endpoint = tf.function(explain, autograph=False)
    x = _named(explainer.input_spec, "x")
    endpoint.get_concrete_function(x)
    for dtype in (tf.int32, tf.int64):  # TensorFlow's and NumPy's integers
        endpoint.get_concrete_function(x, tf.TensorSpec([None], dtype, name="target"))
    return endpoint


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _named(spec: tf.TensorSpec, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(spec.shape, spec.dtype, name=name)
