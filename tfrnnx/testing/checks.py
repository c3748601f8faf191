"""The checks, for users' tests and the package's own."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np

from tfrnnx.errors import ConfigError, TfrnnxWarning
from tfrnnx.networks.architectures import architectures, build
from tfrnnx.propagation.methods import Method
from tfrnnx.testing import choices, properties, running
from tfrnnx.testing.protocol import assert_forms, assert_protocol, new_cell
from tfrnnx.testing.subjects import (
    PLACES,
    Draw,
    Layer,
    Subject,
    around,
    around_sequences,
    draw_weight,
    float64,
    in_float64,
    made_anew,
    of_methods,
)

XLA = Literal["none", "one", "all"]
Parameters = Mapping[str, Any] | Callable[[Sequence[np.ndarray]], Mapping[str, Any]]


def check_layer(
    layer: Layer,
    input_shape: tuple[int, ...],
    *,
    inputs: int = 0,
    apart: bool = False,
    vocabulary: int | None = None,
    last: bool = False,
    masks: bool | None = None,
    draw: Draw = draw_weight,
    xla: XLA = "one",
    thorough: bool = False,
    every: bool = True,
) -> None:
    """Check that a layer keeps what every layer must, wherever in a model it stands.

    In small float64 models, where the layer reads the model's input, hidden values of either sign,
    and hidden values >= 0: what is explained is what the layer's own call computes; the gradient
    is TensorFlow's; under every registered method of relevance, with values of `bias`, `gates` and
    `attention` in turn, all relevance is accounted for; outputs that are said to be >= 0 are; the
    model is the same once saved and loaded, and a sample is explained alone as in its batch;
    compiled it is as eagerly; masked steps take nothing; and weights and outputs stay as they are.

    Args:
        layer: a layer, which is made anew from its configuration; or a function of symbolic
            tensors, such as `keras.ops.relu`.
        input_shape: of what it reads, without the batch; ints.
        inputs: how many inputs of that shape it reads, in a list; 0: one, which is in no list.
        apart: whether several inputs are arguments of their own, and not a list.
        vocabulary: how many tokens there are, where it reads tokens; None: floats in [-1, 1].
        last: whether it stands at a model's end alone, where it is looked through, as softmax.
        masks: whether masks are checked, with the steps on the input's first axis. None: if the
            layer supports masks and reads (steps, features).
        draw: (weight, a generator) -> an array of the weight's shape. By default of either sign.
        xla: compile with XLA "none" of the methods, "one" of each family (gradients, relevance by
            sign, ...), or "all".
        thorough: account for relevance with every value of `bias`, `gates` and `attention` of
            every method.
        every: account for relevance under every method; else under the first of each family.

    Raises:
        AssertionError: saying what was expected of which layer, where it stood, and what was
            received.

    Examples:
        >>> tfrnnx.testing.check_layer(tfrnnx.layers.Dense(2), (6, 3), xla="none")
    """
    name = getattr(layer, "name", None) or getattr(layer, "__name__", "layer")
    reads: dict[str, Any] = {"inputs": inputs, "apart": apart}
    facts: dict[str, Any] = {**reads, "vocabulary": vocabulary, "last": last}
    with _quietly(), float64():
        if isinstance(layer, keras.layers.Layer):
            _assert_configuration(layer)
        for place in PLACES:
            if place != "input" and vocabulary is not None:
                continue  # tokens are the model's input
            its = in_float64(layer)
            subject = around(its, input_shape, place, name=name, draw=draw, **facts)
            # All methods are compiled where the layer reads the input: there are most rules.
            if place == "input":
                _check(subject, xla, thorough, every)
            else:
                _check_claims_and_accounts(subject, choices.one_of_families())
        wanted = masks
        if masks is None:
            supported = bool(getattr(layer, "supports_masking", False))
            wanted = supported and len(input_shape) == 2 and vocabulary is None and not last
        if wanted:
            its = in_float64(layer)
            _check_masks(around_sequences(its, input_shape[1:], name=name, draw=draw, **reads))


def check_cell(
    cell: Any,
    input_shape: tuple[int, int] = (3, 3),
    *,
    draw: Draw = draw_weight,
    xla: XLA = "one",
    thorough: bool = False,
    every: bool = True,
) -> None:
    """Check that an RNN cell keeps what every cell must.

    It follows Keras's protocol; `project` and `step` are what its call is; in `keras.layers.RNN`
    all that `check_layer` checks holds of its outputs and its last states; unrolled it is as in a
    loop, and backwards as of the reversed sequence.

    Args:
        cell: a cell, of Keras or a subclass of `tfrnnx.layers.ExplainableCell`.
        input_shape: (steps, features).
        draw: as of `check_layer`.
        xla: as of `check_layer`.
        thorough: as of `check_layer`.
        every: as of `check_layer`.

    Raises:
        AssertionError: saying what was expected of the cell and what was received.
    """
    # Unrolled, which takes less time eagerly; a loop is compared with it below.
    options = {"return_sequences": True, "return_state": True, "unroll": True}
    layer = keras.layers.RNN(cell, name=cell.name, **options)
    with _quietly(), float64():
        assert_protocol(new_cell(cell), input_shape[1])
    how: dict[str, Any] = {"xla": xla, "thorough": thorough, "every": every}
    check_layer(layer, input_shape, masks=False, draw=draw, **how)
    with _quietly(), float64():
        last = keras.layers.RNN(new_cell(cell))
        _check_masks(around_sequences(last, input_shape[1:], name=cell.name, draw=draw))
        assert_forms(cell, input_shape, draw)


def check_architecture(
    name: str,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int = 4,
    widths: Mapping[str, int] | None = None,
    draw: Draw | None = None,
    xla: XLA = "one",
    thorough: bool = False,
    every: bool = True,
) -> None:
    """Check that a registered architecture keeps what every model must.

    Built in float64, a few units wide: all that `check_layer` checks of models; dropout acts in
    training alone; and unrolled it is as in a loop.

    Args:
        name: of the architecture.
        input_shape: of its input, without the batch. None: that of images, or of a series where
            it takes no images.
        classes: of the output.
        widths: of its layers. None: a few units for each.
        draw: as of `check_layer`. None: with biases that let most units through.
        xla: as of `check_layer`.
        thorough: as of `check_layer`.
        every: as of `check_layer`.

    Raises:
        AssertionError: saying what was expected of the architecture and what was received.
    """
    sizes = _small(name) if widths is None else widths
    shape = input_shape or _taken_shape(name, sizes)

    def built(**options: Any) -> Subject:
        model = build(name, input_shape=shape, classes=classes, dtype="float64", **sizes, **options)
        return Subject(name, model, model, [None], draw=draw or _draw_open)

    with _quietly(), float64():
        subject = built()
        _check(subject, xla, thorough, every)
        xs, target = subject.prepare()
        looping = built(unroll=False)
        looping.model.set_weights(subject.model.get_weights())
        properties.same(looping, subject, xs, target, "in a loop to be as unrolled")
        properties.compiled(looping, running.method_of("lrp_epsilon"), xs, target, "compiled")
        dropping = built(dropout=0.5)
        dropping.model.set_weights(subject.model.get_weights())
        properties.same(dropping, subject, xs, target, "with dropout to be as without at inference")


def check_method(
    name: str,
    parameters: Mapping[str, Any]
    | Callable[[Sequence[np.ndarray]], Mapping[str, Any]]
    | None = None,
    *,
    xla: XLA = "one",
    thorough: bool = True,
) -> None:
    """Check that a registered method keeps what every method must.

    On small float64 models of dense, convolutional and recurrent layers, of tokens and of several
    inputs: it explains what the model computes; relevance, with every value of `bias`, `gates` and
    `attention` that it takes, is accounted for; of a method of gradients without changed ReLUs the
    tape's gradient makes the same, of others on models without ReLUs; a sample alone is explained
    as in its batch, where nothing is drawn; masked steps take nothing; compiled it is as eagerly;
    and weights and outputs stay as they are.

    Args:
        name: of the method.
        parameters: of the method; or a function from the model's inputs (a list of arrays) to
            them. None: its defaults.
        xla: compile with XLA: "none"; "one": if it is the first method of its family; "all".
        thorough: account for relevance with every value of `bias`, `gates` and `attention`; else
            with their defaults.

    Raises:
        AssertionError: saying what was expected of the method and what was received.
    """
    with _quietly(), float64():
        for number, subject in enumerate(of_methods()):
            xs, target = subject.prepare()
            chosen = dict(parameters(xs) if callable(parameters) else parameters or {})
            method = running.method_of(name, **chosen)
            first = choices.first_of_families()[running.family(method)]
            chosen_for_xla = xla == "all" or (xla == "one" and first == name)
            properties.untouched(subject, [method], xs)
            properties.samples_alone(subject, method, xs, target)
            if number == 0:
                properties.compiled(subject, method, xs, target, "compiled")
            if chosen_for_xla and (number == 0 or xla == "all"):
                properties.compiled(subject, method, xs, target, "xla")
            if method.propagates_relevance:
                for variant in choices.variants(name, chosen) if thorough else [method]:
                    properties.accounts(subject, variant, xs, target)
            rectifies = "tanh" not in subject.name
            if method.rules is None and not (rectifies and method.relu != "gradient"):
                properties.gradient(subject, method, xs, target)
        if not running.is_drawn(method) and method.sampler is None:
            lstm = keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))
            subject = around_sequences(lstm, (3,), name=f"{name} on a Bidirectional LSTM")
            subject.prepare()
            properties.masks(subject, method)


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        # What is told of values that can be negative, and the like, is tested elsewhere.
        warnings.simplefilter("ignore", TfrnnxWarning)
        # keras.Variable has an __array__ of before NumPy 2, and Keras saves with it.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't", DeprecationWarning)
        # The head flattens what has a mask; and a functional model is said not to support the mask
        # that it hands to its layers, nor are the maps inside of attention.
        said = "Layer '(flatten|functional|query|key|value).*mask attached"
        warnings.filterwarnings("ignore", said, UserWarning)
        yield


def _check(subject: Subject, xla: XLA, thorough: bool, every: bool) -> None:
    xs, target = _check_claims_and_accounts(subject, choices.of_relevance(thorough, every))
    families = choices.one_of_families()
    properties.predicted(subject, xs)
    properties.untouched(subject, families, xs)
    properties.saved_and_loaded(subject, xs, target)
    for method in (running.method_of("gradient"), running.method_of("lrp_epsilon")):
        properties.samples_alone(subject, method, xs, target)
    properties.compiled(subject, running.method_of("lrp_epsilon"), xs, target, "compiled")
    if xla == "none":
        return
    for method in families if xla == "one" else choices.examples(xs).values():
        properties.compiled(subject, method, xs, target, "xla")


def _check_claims_and_accounts(
    subject: Subject, chosen: Iterable[Method]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Check what depends on where a layer stands; return inputs and targets."""
    properties.claims(subject)
    xs, target = subject.prepare()
    properties.forward(subject, xs, target)
    properties.gradient(subject, running.method_of("gradient"), xs, target)
    for method in chosen:
        if method.propagates_relevance:
            properties.accounts(subject, method, xs, target)
    return xs, target


def _check_masks(subject: Subject) -> None:
    subject.prepare()
    for method in choices.one_of_families():
        if method.sampler is None:  # others fill the padding with values
            properties.masks(subject, method)


def _assert_configuration(layer: keras.layers.Layer) -> None:
    """A layer's configuration is of JSON's values, and makes the layer anew."""
    config = layer.get_config()
    try:
        json.dumps(config)
    except TypeError as error:
        raise AssertionError(
            f"{layer.name}: expected get_config() to have values that JSON knows. Received: {error}"
        ) from error
    again = made_anew(layer, config).get_config()
    if again != config:
        raise AssertionError(
            f"{layer.name}: expected from_config(get_config()) to have the same configuration. "
            f"Received: {again}, before {config}"
        )


def _taken_shape(name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of small images, or of a series where the architecture takes no images."""
    images, series = (3, 7, 5), (4, 3)
    options: dict[str, Any] = {"input_shape": images, **sizes}
    try:
        build(name, **options)
    except ConfigError:
        return series
    return images


def _small(name: str) -> dict[str, int]:
    return {
        width: min(full, 5 + i % 3)
        for i, (width, full) in enumerate(architectures[name].widths.items())
    }


def _draw_open(variable: keras.Variable, rng: np.random.Generator) -> np.ndarray:
    """As `draw_weight`; biases b of b' = -softplus(b) near 0, else most units would be silent."""
    if variable.name in ("bias", "feedback_bias"):
        return rng.normal(-2.0, 1.5, variable.shape)
    return draw_weight(variable, rng)
