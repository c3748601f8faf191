"""Explain arrays and data sets, batch by batch."""

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError
from tfrnnx.explaining.explainer import Explainer, FullExplanation
from tfrnnx.explaining.ledger import Ledger
from tfrnnx.explaining.targets import Target
from tfrnnx.propagation.methods import Method, get_method


def explain(
    model: keras.Model,
    x: Any,
    method: str | Method = "dtd",
    target: Any = None,
    *,
    mask: Any = None,
    layers: tuple[str, ...] | list[str] = (),
    ledger: bool = False,
    batch_size: int = 128,
    verbose: int | str = "auto",
    **parameters: Any,
) -> Any:
    """Return the relevance of the target at every value of x.

    Args:
        model: as for `Explainer`.
        x: as for a call of an `Explainer`, explained in batches; or a `tf.data.Dataset` of
            batches, whose elements are x or tuples that start with x.
        method: the name of a method ("dtd", "lrp_epsilon", "sa", ...), or a `Method`.
        target: None for the predicted class of each sample, an int, or ints (samples,); or a
            `Target`, or a callable on the model's outputs.
        mask: of the steps to read, bool (samples, steps).
        layers: names of layers at whose outputs relevance is returned too.
        ledger: account for all relevance.
        batch_size: how many samples of an array are explained at once, which bounds the memory.
        verbose: 1 shows a progress bar, 0 does not; "auto" shows it for more than one batch.
        **parameters: of the method.

    Returns:
        A NumPy array of x's shape, or as nested as x; a `tf.RaggedTensor` where x is one. With
        `layers` or `ledger` a `FullExplanation` of arrays. For a dataset, an iterator over such,
        one a batch: what they add up to need not fit in memory.

    Raises:
        InputError: naming what was expected of x or target and what was received.
        UnknownNameError, ConfigError, UnsupportedLayerError: as `Explainer`.
    """
    explainer = _cached_explainer(model, method, tuple(layers), ledger, parameters)
    full = bool(layers) or ledger
    if isinstance(x, tf.data.Dataset):
        if mask is not None:
            raise InputError("Expected no mask beside a dataset; ragged batches have their own.")
        batches = (element[0] if isinstance(element, tuple) else element for element in x)
        total = int(x.cardinality())
        explained = _explained(explainer, batches, target, total if total >= 0 else None, verbose)
        return (each if full else each.relevance for each in explained)
    whole = explain_arrays(explainer, x, target, mask=mask, batch_size=batch_size, verbose=verbose)
    return whole if full else whole.relevance


def explain_arrays(
    explainer: Explainer,
    x: Any,
    target: Any = None,
    *,
    mask: Any = None,
    batch_size: int = 128,
    verbose: int | str = "auto",
) -> FullExplanation:
    """Return the explanation of arrays, made batch by batch; as `explain`, of an `Explainer`.

    Raises:
        InputError: naming what was expected of x or target and what was received.
    """
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    # Checked as a whole first: a mistake in the last sample should not cost the wait for it.
    samples = explainer.check(x, target, mask=mask) or 0
    starts = range(0, max(1, samples), batch_size)

    def batches() -> Iterator[Any]:
        for start in starts:
            part = _sliced(slice(start, start + batch_size))
            yield (_map(part, x), None if mask is None else _map(part, mask))

    parts = list(_explained(explainer, batches(), target, len(starts), verbose, with_mask=True))
    return _joined(parts)


def _sliced(part: slice) -> Callable[[Any], Any]:
    return lambda x: (
        x[part] if tf.is_tensor(x) or isinstance(x, tf.RaggedTensor) else (np.asarray(x)[part])
    )


def _map(function: Callable[[Any], Any], x: Any) -> Any:
    """Apply a function to each input of a model."""
    if isinstance(x, dict):
        return {name: function(part) for name, part in x.items()}
    several = isinstance(x, list | tuple) and any(
        tf.is_tensor(part) or isinstance(part, np.ndarray | tf.RaggedTensor) for part in x
    )
    return type(x)(function(part) for part in x) if several else function(x)


def _explained(
    explainer: Explainer,
    batches: Iterable[Any],
    target: Any,
    total: int | None,
    verbose: int | str,
    with_mask: bool = False,
) -> Iterator[FullExplanation]:
    """Yield the explanation of every batch, under a progress bar."""
    shown = total != 1 if verbose == "auto" else bool(verbose)
    # Where the bar cannot be redrawn in place, such as in a log file, one line at the end.
    progress = keras.utils.Progbar(total, verbose=1 if sys.stdout.isatty() else 2)
    start = 0
    for done, batch in enumerate(batches, 1):
        x, mask = batch if with_mask else (batch, None)
        stop = start + _samples(x)
        explanation = explainer.explain_fully(x, _part(target, start, stop), mask=mask)
        yield keras.tree.map_structure(_as_array, explanation)
        start = stop
        if shown:
            progress.update(done)
    given = _length(target)
    if given is not None and start < given:
        raise explainer.unfit_target(f"{given} for {start} samples")


def _as_array(x: Any) -> Any:
    return x.numpy() if tf.is_tensor(x) and not isinstance(x, tf.RaggedTensor) else x


def _samples(x: Any) -> int:
    """Return how many samples a batch has."""
    first: Any = x
    if isinstance(x, dict):
        first = next(iter(x.values()))
    elif isinstance(x, list | tuple) and x and hasattr(x[0], "shape"):
        first = x[0]
    return int(first.shape[0] if len(getattr(first, "shape", ())) else len(first))


def _part(target: Any, start: int, stop: int) -> Any:
    """Return the target of some samples."""
    if isinstance(target, Target):
        return Target(
            _part(target.index, start, stop),
            _part(target.contrast, start, stop),
            _part(target.step, start, stop),
            target.output,
        )
    return target if callable(target) or np.ndim(target) == 0 else target[start:stop]


def _length(target: Any) -> int | None:
    """Return for how many samples a target is given, if it is for each."""
    if isinstance(target, Target):
        target = target.index
    return None if callable(target) or np.ndim(target) == 0 else len(target)


def _joined(parts: list[FullExplanation]) -> FullExplanation:
    """Return the explanations of batches as one."""
    if len(parts) == 1:
        return parts[0]
    ledgers = [part.ledger for part in parts if part.ledger is not None]
    joined = keras.tree.map_structure(
        _concatenated, *[part._replace(ledger=None) for part in parts]
    )
    return joined._replace(ledger=Ledger.joined(ledgers) if ledgers else None)


def _concatenated(*arrays: Any) -> Any:
    if isinstance(arrays[0], tf.RaggedTensor):
        return tf.concat(arrays, 0)
    return None if arrays[0] is None else np.concatenate(arrays)


# Tracing takes seconds, so that `explain` keeps what it compiled, for as long as the model lives.
_explainers: WeakKeyDictionary[keras.Model, dict[Any, Explainer]] = WeakKeyDictionary()


def _cached_explainer(
    model: keras.Model,
    method: str | Method,
    layers: tuple[str, ...],
    ledger: bool,
    parameters: dict[str, Any],
) -> Explainer:
    chosen = get_method(method, **parameters)  # names may be of any type before they are checked

    def make(model: Any) -> Explainer:
        return Explainer(model, chosen, layers=layers, ledger=ledger)

    key = (method, tuple(sorted(parameters.items())), layers, ledger)
    try:
        known = _explainers.setdefault(model, {})
        hash(key)
    except TypeError:  # a model that is none, or parameters such as arrays
        return make(model)
    if key not in known:
        known[key] = make(weakref.proxy(model))
    return known[key]
