"""The loss of the thesis."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfrnnx")
class PseudoClassCrossentropy(keras.losses.Loss):
    """Softmax cross-entropy with one added pseudo-class whose logit is fixed at 0.

    loss = -log(exp z_y / (1 + Σ_k exp z_k)). A plain softmax does not change when all logits
    shift together; here a logit of 0 means "no evidence for this class", and only a positive one
    is evidence for it, which is what deep Taylor decomposition takes apart.

    y_true: integer classes (batch,). y_pred: logits (batch, classes). Loss: (batch,), >= 0.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss of every sample."""
        logits = tf.concat([y_pred, tf.zeros_like(y_pred[:, :1])], -1)
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
