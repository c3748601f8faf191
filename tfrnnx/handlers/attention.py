"""Handlers of attention layers and of the dot product."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrnnx import _keras, primitives
from tfrnnx.handlers.normalization import unit
from tfrnnx.handlers.registry import layer_handlers
from tfrnnx.primitives.scope import mark_moved, reading, scope

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MASKED = -1e9  # less than any score: as finite as Keras has it


def _read(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """Return what a layer computes with in the place of x."""
    read = tf.cast(x, layer.variable_dtype)
    if read is not x:
        mark_moved(x, read)
    return read


@layer_handlers.register(keras.layers.Dot)
def _dot(layer: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    a, b = (_read(layer, x) for x in tensors)
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else layer.axes
    axis_a, axis_b = axes[0] % a.shape.rank, axes[1] % b.shape.rank
    if layer.normalize:
        with reading(a):
            a = unit(a, axis_a, keras.config.epsilon())
        with reading(b):
            b = unit(b, axis_b, keras.config.epsilon())
    of_a = _LETTERS[: a.shape.rank]
    others = iter(_LETTERS[a.shape.rank :])
    known = {0: of_a[0], axis_b: of_a[axis_a]}
    of_b = "".join(known.get(i) or next(others) for i in range(b.shape.rank))
    kept = [letter for letter in of_a + of_b[1:] if letter != of_a[axis_a]]
    z = primitives.bilinear(f"{of_a},{of_b}->{''.join(kept)}", a, b)
    return z[:, None] if len(kept) == 1 else z


@layer_handlers.register(keras.layers.Attention)
@layer_handlers.register(keras.layers.AdditiveAttention)
def _attention(
    layer: Any,
    inputs: Sequence[tf.Tensor],
    mask: Sequence[tf.Tensor | None] | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> Any:
    query, value, *rest = (_read(layer, x) for x in inputs)
    key = rest[0] if rest else value
    query_mask, valid, *_ = mask or (None, None)
    scores = _scores(layer, query, key)
    if valid is not None and (use_causal_mask or valid.shape.rank == 2):
        valid = valid[..., None, :]
    if use_causal_mask:
        steps = tf.shape(scores)[-2:]
        causal = tf.linalg.band_part(tf.ones(steps, tf.bool), -1, 0)[None]
        valid = causal if valid is None else valid & causal

    def softmax(scores: tf.Tensor) -> tf.Tensor:
        # Subtracted, as Keras does: it shows where all steps are masked.
        masked = scores if valid is None else tf.where(valid, scores, scores + _MASKED)
        return tf.nn.softmax(masked)

    weights = primitives.softmax(scores, softmax, valid=valid)
    output = primitives.bilinear("...qk,...kd->...qd", weights, value)
    if query_mask is not None:
        output = tf.where(query_mask[..., None], output, primitives.nothing(output))
    return (output, weights) if return_attention_scores else output


def _scores(layer: Any, query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Return (..., queries, keys): q·k, or the sum of w tanh(s (q + k)) over the features."""
    scale = None if layer.scale is None else tf.convert_to_tensor(layer.scale)
    additive = isinstance(layer, keras.layers.AdditiveAttention)
    if not additive and layer.score_mode == "dot":
        scores = primitives.bilinear("...qd,...kd->...qk", query, key)
        return scores if scale is None else primitives.activate(scores, lambda z: scale * z)
    pairs = tf.concat([tf.shape(query)[:-1], tf.shape(key)[-2:]], 0)
    shape = [*query.shape[:-1], *key.shape[-2:]]

    def of_pairs(x: tf.Tensor, axis: int) -> tf.Tensor:
        wide = tf.ensure_shape(tf.broadcast_to(tf.expand_dims(x, axis), pairs), shape)
        mark_moved(x, wide)
        return wide

    each = of_pairs(query, -2), of_pairs(key, -3)
    with reading(*each):
        both = primitives.add(*each)
    factor = 1.0 if additive or scale is None else scale
    hidden = primitives.activate(both, lambda z: tf.tanh(factor * z))
    if not additive:
        weights = tf.fill([shape[-1]], tf.convert_to_tensor(layer.concat_score_weight))
    else:
        weights = tf.ones([shape[-1]], hidden.dtype) if scale is None else scale
    with reading(hidden):
        return primitives.dense(hidden, weights[:, None])[..., 0]


def _project(dense: Any, x: tf.Tensor, inputs: int = 1, gates: bool = False) -> tf.Tensor:
    """Return what an `EinsumDense` of an attention layer makes of x.

    Args:
        dense: which contracts the last axes of x.
        x: floats.
        inputs: how many axes.
        gates: whether gates are made.
    """
    kernel = tf.convert_to_tensor(dense.kernel)
    width, outputs = kernel.shape[:inputs].num_elements(), kernel.shape[inputs:]
    rows = tf.reshape(x, tf.concat([tf.shape(x)[:-inputs], [width]], 0))
    rows = tf.ensure_shape(rows, [*x.shape[:-inputs], width])
    bias = None if dense.bias is None else tf.reshape(tf.convert_to_tensor(dense.bias), [-1])
    kernel = tf.reshape(kernel, [width, -1])
    with reading(x):
        if gates:
            z = primitives.join([primitives.contribution(rows, kernel)], bias, gates=True)
        else:
            z = primitives.dense(rows, kernel, bias)
    z = tf.reshape(z, tf.concat([tf.shape(z)[:-1], outputs], 0))
    return tf.ensure_shape(z, [*rows.shape[:-1], *outputs])


@layer_handlers.register(keras.layers.MultiHeadAttention)
@layer_handlers.register(keras.layers.GroupQueryAttention)
def _multi_head_attention(
    layer: Any,
    query: tf.Tensor,
    value: tf.Tensor,
    key: tf.Tensor | None = None,
    query_mask: tf.Tensor | None = None,
    value_mask: tf.Tensor | None = None,
    key_mask: tf.Tensor | None = None,
    attention_mask: tf.Tensor | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> Any:
    key = value if key is None else key
    valid = _keras.attention_mask_of(
        layer, query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
    )
    dense = _keras.projections_of(layer)
    of_query = _read(layer, query)
    q = _project(dense["query"], of_query)
    k = _project(dense["key"], _read(layer, key))
    v = _project(dense["value"], _read(layer, value))
    grouped = isinstance(layer, keras.layers.GroupQueryAttention)
    axes = (1,) if grouped else layer.attention_axes
    if grouped:
        k, v = (tf.repeat(x, layer.num_repeats, axis=2) for x in (k, v))
    # Keras has a short way for the plainest form. It differs where all keys are masked, and in the
    # digits of the root: TensorFlow casts a number by way of float32.
    plain = not (layer.dropout > 0 or return_attention_scores or q.shape.rank != 4)
    by_root = (tf if plain else keras.ops).cast(q.shape[-1] ** -0.5, q.dtype)
    q = primitives.activate(q, lambda q: by_root * q)
    dot, combine = _equations(q.shape.rank, axes)
    scores = primitives.bilinear(dot, q, k)
    weights = _weights(scores, valid, len(axes), plain)
    heads = primitives.bilinear(combine, weights, v)
    if dense["gate"] is not None:
        opening = _project(dense["gate"], of_query, gates=True)
        heads = primitives.gate(primitives.activate(opening, tf.sigmoid), heads)
    output = _project(dense["output"], heads, inputs=2)
    if not grouped:
        _take_masks(query, value, key)
    return (output, weights) if return_attention_scores else output


def _take_masks(*tensors: tf.Tensor) -> None:
    """Have these tensors lose their masks, as Keras does: whoever reads them next gets none."""
    active = scope()
    assert active is not None
    for x in tensors:
        active.record.note(x, mask=None)


def _equations(rank: int, axes: Sequence[int]) -> tuple[str, str]:
    """Return those of the scores, of queries and keys, and of the sums of values by weights.

    Args:
        rank: of queries, keys and values, (batch, ..., heads, features).
        axes: along which queries meet keys; along the others each meets its own.
    """
    of_query = _LETTERS[:rank]
    renamed = {axis: _LETTERS[rank + i] for i, axis in enumerate(axes)}
    of_key = "".join(renamed.get(i, letter) for i, letter in enumerate(of_query))
    shared = [of_query[i] for i in range(rank - 1) if i not in axes]
    scores = "".join([*shared, *(of_query[i] for i in axes), *(of_key[i] for i in axes)])
    return f"{of_query},{of_key}->{scores}", f"{scores},{of_key}->{of_query}"


def _weights(scores: tf.Tensor, valid: tf.Tensor | None, axes: int, plain: bool) -> tf.Tensor:
    """Return attention weights (batch, ..., queries, keys).

    Args:
        scores: floats.
        valid: bool (batch, queries, keys), or with axes before these two.
        axes: how many axes queries have, and keys.
        plain: whether queries whose keys are all masked read all alike, and not nothing.
    """
    over = list(range(-axes, 0))
    while valid is not None and valid.shape.rank < scores.shape.rank:
        valid = tf.expand_dims(valid, -2 * axes - 1)

    def softmax(scores: tf.Tensor) -> tf.Tensor:
        if plain:
            return tf.nn.softmax(scores if valid is None else tf.where(valid, scores, _MASKED))
        return keras.layers.Softmax(over, dtype=scores.dtype.name).call(scores, valid)

    return primitives.softmax(scores, softmax, over, valid)
