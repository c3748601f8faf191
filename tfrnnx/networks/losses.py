"""The losses: that of the thesis for classes, and one for numbers."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfrnnx")
class PseudoClassCrossentropy(keras.losses.Loss):
    """Softmax cross-entropy with one added pseudo-class whose logit is fixed at 0.

    loss = -log(exp z_y / (1 + Σ_k exp z_k)). A plain softmax does not change when all logits
    shift together; here a logit of 0 means "no evidence for this class", and only a positive one
    is evidence for it, which is what deep Taylor decomposition takes apart.

    y_true: integer classes (batch,). y_pred: logits (batch, classes). Loss: (batch,), >= 0. Or,
    with a class a step, all of them with an axis of steps after the batch.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss of every sample, or of every step of it."""
        logits = tf.concat([y_pred, tf.zeros_like(y_pred[..., :1])], -1)
        labels = tf.cast(tf.reshape(y_true, tf.shape(y_pred)[:-1]), tf.int32)
        return _evenly(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


@keras.saving.register_keras_serializable(package="tfrnnx")
class SquaredError(keras.losses.Loss):
    """The squared error of one number: loss = (y - z)².

    y_true: floats (batch,). y_pred: (batch, 1). Loss: (batch,), >= 0.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss of every sample."""
        z = tf.reshape(y_pred, [-1])
        return _evenly((tf.cast(tf.reshape(y_true, [-1]), z.dtype) - z) ** 2)


def _evenly(losses: tf.Tensor) -> tf.Tensor:
    """Have every sample of a batch that several devices share count alike in the gradient.

    Keras takes the mean of the devices' means. Where they got parts of different sizes, as of an
    epoch's last batch, a sample of a small part would count more. The values stay as they are:
    what Keras reports weighs them by the sizes of the parts.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return losses
    size = tf.cast(tf.size(losses), losses.dtype)
    mean_size = context.all_reduce(tf.distribute.ReduceOp.MEAN, size)
    share = size / mean_size
    return share * losses + tf.stop_gradient((1 - share) * losses)
