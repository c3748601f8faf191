"""Small models around what is checked, in float64, with weights and inputs drawn anew."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from tfrnnx.propagation.methods import Method
from tfrnnx.testing import running

CLASSES, SAMPLES, STEPS = 3, 3, 6

# What a layer reads: the model's input, hidden values of either sign, or hidden values >= 0.
Place = Literal["input", "signed", "positive"]
PLACES: tuple[Place, ...] = ("input", "signed", "positive")

Draw = Callable[[keras.Variable, np.random.Generator], np.ndarray]
Layer = keras.layers.Layer | Callable[[Any], Any]


@contextmanager
def float64() -> Iterator[None]:
    """Have Keras make float64 layers: checks compare to many digits."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def in_float64(layer: Layer) -> Layer:
    """Return a new layer, or the same function, that computes in float64.

    Raises:
        AssertionError: if the layer cannot be made anew from its configuration.
    """
    if not isinstance(layer, keras.layers.Layer):
        return layer
    return made_anew(layer, _retyped(layer.get_config()))


def made_anew(layer: keras.layers.Layer, config: dict[str, Any]) -> keras.layers.Layer:
    """Return a layer of the same class, of a configuration.

    Raises:
        AssertionError: if there is none.
    """
    try:
        # A copy: Keras's layers take what they are made of out of it.
        return type(layer).from_config(copy.deepcopy(config))
    except Exception as error:
        raise AssertionError(
            f"{layer.name}: expected a layer that from_config(get_config()) makes anew; a cell or "
            "layer inside of it must be registered with Keras. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def _retyped(config: Any) -> Any:
    if isinstance(config, dict):
        return {k: "float64" if k == "dtype" else _retyped(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_retyped(value) for value in config)
    return config


def draw_weight(variable: keras.Variable, rng: np.random.Generator) -> np.ndarray:
    """Return a weight of either sign, as its constraint allows; variances are positive.

    Kernels are rather positive, or most units of a narrow network would be silent.
    """
    if "variance" in variable.name:
        return rng.uniform(0.5, 2, variable.shape)
    if variable.name in ("bias", "beta", "gate_bias"):
        value = rng.normal(0.0, 0.7, variable.shape)
    else:
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        value = rng.normal(0.3, 1.0, variable.shape) * 1.5 / np.sqrt(fan_in)
    if variable.constraint is not None:
        value = np.asarray(variable.constraint(keras.ops.convert_to_tensor(value)))
    return value


@dataclass
class Subject:
    """A model that is checked.

    Attributes:
        name: what messages call it.
        model: of outputs (batch, classes).
        plain: from the model's inputs to what is explained: the logits.
        vocabularies: of each input, how many tokens there are; None: floats in [-1, 1].
        embed: from tokens to what is explained in their place, and
        rest: from there to the logits; None for models that read floats.
        draw: how a weight is drawn.
        output: number of the output that is explained.
        step: of outputs of sequences, which.
    """

    name: str
    model: keras.Model
    plain: keras.Model
    vocabularies: Sequence[int | None]
    embed: keras.Model | None = None
    rest: keras.Model | None = None
    draw: Draw = draw_weight
    output: int = 0
    step: int | None = None

    def run(
        self, method: Method, xs: Sequence[np.ndarray], target: np.ndarray, **options: Any
    ) -> running.Run:
        """Explain a batch; with the options of `running.run`."""
        return running.run(
            self.model, method, xs, target, output=self.output, step=self.step, **options
        )

    def most_that_flows(
        self, method: Method, xs: Sequence[np.ndarray], target: np.ndarray
    ) -> np.ndarray:
        """Return the greatest sum of absolute relevance at a layer's outputs, for each sample."""
        return running.most_that_flows(
            self.model, method, xs, target, output=self.output, step=self.step
        )

    def inputs(self, samples: int = SAMPLES, seed: int = 0) -> list[np.ndarray]:
        """Return an array for each input, with the ends of [-1, 1] among its values."""
        rng = np.random.default_rng(seed)
        arrays = []
        for tensor, vocabulary in zip(self.model.inputs, self.vocabularies, strict=True):
            shape = (samples, *(STEPS if size is None else size for size in tensor.shape[1:]))
            if vocabulary is not None:
                arrays.append(rng.integers(0, vocabulary, shape).astype("int32"))
                continue
            x = rng.uniform(-1, 1, shape)
            for i, row in enumerate(x.reshape(samples, -1)):
                row[i % len(row)] = 1.0
                if len(row) > 3:
                    row[(i + 2) % len(row)] = -1.0
            arrays.append(x)
        return arrays

    def redraw(self, seed: int) -> None:
        """Draw every weight anew."""
        rng = np.random.default_rng(seed)
        for variable in self.model.weights:
            variable.assign(self.draw(variable, rng))

    def logits(self, xs: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the logits are, by the layers' own calls."""
        return np.asarray(self.plain(given(xs), training=False))

    def prepare(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Draw weights with which there is something to explain; return inputs and targets.

        The targets are the predicted classes.

        Raises:
            AssertionError: if no draw leaves positive logits that depend on every input.
        """
        xs = self.inputs()
        for seed in range(30):
            self.redraw(seed)
            logits = self.logits(xs)
            target = logits.argmax(-1)
            if not (np.isfinite(logits).all() and (logits.max(-1) > 0).all()):
                continue
            found = self.run(running.method_of("gradient"), xs, target)
            if all(np.any(r) for r in found.relevance):
                return xs, target
        raise AssertionError(
            f"{self.name}: expected weights drawn at random to give positive logits that depend on "
            "the input. Received: none in 30 draws; give draw=, which draws a weight as it must be"
        )


def given(xs: Sequence[Any]) -> Any:
    """Return arrays as a model takes them."""
    return xs[0] if len(xs) == 1 else list(xs)


def applied(layer: Layer, xs: Sequence[Any], inputs: int, apart: bool) -> Any:
    """Return what a layer makes of tensors: of one, of a list, or of several arguments."""
    if apart:
        return layer(*xs)
    return layer(list(xs) if inputs else xs[0])


def around(
    layer: Layer,
    shape: tuple[int, ...],
    place: Place = "input",
    *,
    name: str,
    inputs: int = 0,
    apart: bool = False,
    vocabulary: int | None = None,
    last: bool = False,
    draw: Draw = draw_weight,
) -> Subject:
    """Return a model of a layer and a few dense ones.

    Args:
        layer: a layer, or a function of symbolic tensors.
        shape: of its input, without the batch.
        place: what it reads.
        name: what messages call it.
        inputs: how many tensors of that shape it reads, in a list; 0: one.
        apart: whether these are arguments of their own, and not a list.
        vocabulary: how many tokens there are, where it reads tokens.
        last: whether it stands at the model's end, where it is looked through.
        draw: how a weight is drawn.
    """
    dtype = "float64" if vocabulary is None else "int32"
    xs = [keras.Input(shape, dtype=dtype) for _ in range(max(1, inputs))]
    read = xs
    if place != "input":
        # Of softplus, and not of ReLUs: which of two equal values is the maximum is not said.
        activation = "softplus" if place == "positive" else None
        read = [keras.layers.Dense(shape[-1], activation=activation)(x) for x in xs]
    if last:
        logits = keras.layers.Dense(shape[-1])(read[0])
        outputs = layer(logits)
        made = logits
    else:
        made = applied(layer, read, inputs, apart)
        outputs = logits = keras.layers.Dense(CLASSES)(_flat(made))
    embed = rest = None
    if vocabulary is not None:
        embed, rest = keras.Model(given(xs), made), keras.Model(made, logits)
    model, plain = keras.Model(given(xs), outputs), keras.Model(given(xs), logits)
    where = {"input": "reading the input", "signed": "reading hidden values of either sign"}
    named = f"{name}, {where.get(place, 'reading hidden values >= 0')}"
    return Subject(named, model, plain, [vocabulary] * len(xs), embed, rest, draw)


def _flat(outputs: Any) -> Any:
    """Return all values of a layer's outputs, (batch, values)."""
    flat = [
        keras.layers.Flatten()(x) if len(x.shape) > 2 else x for x in keras.tree.flatten(outputs)
    ]
    return flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)


def around_sequences(
    layer: Layer,
    features: tuple[int, ...],
    *,
    name: str,
    inputs: int = 0,
    apart: bool = False,
    draw: Draw = draw_weight,
) -> Subject:
    """Return a model of a layer that reads sequences of any length, and whose masks are honoured.

    Args:
        layer: that supports masks.
        features: the shape of a step.
        name: what messages call it.
        inputs: how many sequences it reads, in a list; 0: one.
        apart: whether these are arguments of their own, and not a list.
        draw: how a weight is drawn.
    """
    xs = [keras.Input((None, *features), dtype="float64") for _ in range(max(1, inputs))]
    outputs = applied(layer, xs, inputs, apart)
    if len(outputs.shape) == 3:
        outputs = keras.layers.GlobalAveragePooling1D()(outputs)
    model = keras.Model(given(xs), keras.layers.Dense(CLASSES)(outputs))
    return Subject(f"{name}, with masks", model, model, [None] * len(xs), draw=draw)


def of_methods() -> Iterator[Subject]:
    """Yield the models that methods are checked on; without ReLUs where the name says tanh."""
    K = keras.layers

    def made(name: str, xs: list[Any], features: Any, **more: Any) -> Subject:
        model = keras.Model(given(xs), K.Dense(3)(features))
        return Subject(name, model, model, more.pop("vocabularies", [None] * len(xs)), **more)

    x = keras.Input((3, 3))
    h = K.Bidirectional(K.GRU(2, return_sequences=True, activation="relu"))(x)
    yield made("a recurrent model", [x], K.LSTM(2, unroll=True)(K.Dense(3, activation="relu")(h)))
    x = keras.Input((5, 4, 2))
    h = K.Conv2D(3, 2, activation="relu")(K.BatchNormalization()(x))
    h = K.AveragePooling2D(2, padding="same")(h)
    h = K.MaxPooling2D(2, padding="same")(K.Conv2D(3, 2, activation="softplus", padding="same")(h))
    yield made("a convolutional model", [x], K.Dense(4, activation="relu")(K.Flatten()(h)))
    x, y = keras.Input((4,)), keras.Input((4,))
    h, g = K.Dense(3, activation="tanh")(x), K.Dense(3, activation="softplus")(y)
    merged = [K.Add()([h, g]), K.Multiply()([h, g]), y]
    yield made("a tanh model of two inputs", [x, y], K.Concatenate()(merged))
    tokens = keras.Input((4,), dtype="int32")
    vectors = K.Embedding(5, 3)(tokens)
    logits = K.Dense(3)(K.SimpleRNN(3)(vectors))
    yield Subject(
        "a tanh model of tokens",
        keras.Model(tokens, logits),
        keras.Model(tokens, logits),
        [5],
        keras.Model(tokens, vectors),
        keras.Model(vectors, logits),
    )
