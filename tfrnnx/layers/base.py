"""The two base classes of layers and cells that explain themselves."""

from typing import Any

import keras
import tensorflow as tf


class ExplainableLayer(keras.layers.Layer):
    """A layer whose `call` is written with `tfrnnx.primitives`.

    Such a layer needs no handler: running it for an explanation is enough. A subclass is registered
    with Keras by its module and name, so that a saved model finds it once that module is imported;
    defined again, as by a notebook's cell that is run again, it takes the place of the first.

    Attributes:
        signed_output: whether the output may be negative; None: if what the layer reads may.
            Rules such as γ and αβ are cheaper where values are known to be >= 0, and wrong where
            that is not true: so say False, in the class or in the constructor, of a layer whose
            output never is.
    """

    signed_output: bool | None = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        package = cls.__module__
        if package.startswith("tfrnnx."):
            package = "tfrnnx"  # files that were saved find a class wherever the package has it
        keras.saving.register_keras_serializable(package)(cls)


class ExplainableCell(ExplainableLayer):
    """An RNN cell whose step is written with `tfrnnx.primitives`.

    Keras's cell protocol (`call(inputs, states)`, `state_size`, `output_size`,
    `get_initial_state`), so that it works in `keras.layers.RNN`, `StackedRNNCells` and
    `Bidirectional`. The step is cut in two, so that what depends on the inputs alone is one
    product over all time steps while explaining. Subclasses define:

    - `state_size` and `output_size`;
    - `project(inputs)`: (..., features) -> a nest of tensors with the same leading axes;
    - `step(projected, states)`: one time step of that nest, and the states (batch, units) ->
      (output, new states).

    Of a cell, `signed_output = False` says that neither its outputs nor any of its states are ever
    negative, where the states start from zeros.
    """

    def project(self, inputs: tf.Tensor) -> Any:
        """Return what the step needs of the inputs, (..., features) -> nest of (..., units)."""
        raise NotImplementedError

    def step(self, projected: Any, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the output and the new states, all (batch, units)."""
        raise NotImplementedError

    def call(
        self, inputs: tf.Tensor, states: list[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the output (batch, units) and the new states for inputs (batch, features)."""
        return self.step(self.project(inputs), states)

    def get_initial_state(self, batch_size: Any = None) -> list[tf.Tensor]:
        """Return zeros for every state."""
        return [
            keras.ops.zeros((batch_size, size), dtype=self.compute_dtype)
            for size in self.state_size  # type: ignore[attr-defined]
        ]
