"""What a network predicts, as a function of arrays."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.data import Task
from tfrnnx.scores.flipping import Stages


def prediction(model: keras.Model, task: Task) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from sequences to the classes' probabilities, beside the pseudo-class.

    Where the task is a number, it is that, (batch, 1).
    """

    def predict(x: tf.Tensor) -> tf.Tensor:
        outputs = tf.cast(model(x, training=False), tf.float32)
        if task.target == "number":
            return outputs
        with_pseudo_class = tf.concat([outputs, tf.zeros_like(outputs[..., :1])], -1)
        return tf.nn.softmax(with_pseudo_class)[..., :-1]

    return _compiled(predict, model)


def stages(model: keras.Model, task: Task) -> Stages | None:
    """Return the prediction in two parts: before the first recurrent layer, and from there on.

    None where a model has none, or something goes past it.
    """
    recurrent = next((x for x in model.layers if isinstance(x, keras.layers.RNN)), None)
    if recurrent is None:
        return None
    try:
        before = keras.Model(model.inputs, recurrent.input)
        after = keras.Model(recurrent.input, model.outputs[0])
    except ValueError:
        return None
    return Stages(_compiled(lambda x: before(x, training=False), before), prediction(after, task))


def _compiled(
    function: Callable[[tf.Tensor], tf.Tensor], model: keras.Model
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of a model's inputs as one from arrays to arrays, traced once."""
    spec = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    compiled = tf.function(function, input_signature=[spec], autograph=False)
    return lambda x: compiled(tf.convert_to_tensor(x)).numpy()
