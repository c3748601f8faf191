"""Explain arrays and data sets, batch by batch."""

import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, overload
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError
from tfrnnx.explaining.arrays import Inputs, Nested
from tfrnnx.explaining.bulk import Outs, release, written
from tfrnnx.explaining.compilation import JitCompile, check_jit_compile
from tfrnnx.explaining.default import AUTO
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.steps import Steps, explain_steps
from tfrnnx.explaining.targets import AnyTarget
from tfrnnx.propagation.methods import Method, get_method


@overload
def explain(
    model: keras.Model,
    x: Inputs,
    method: str | Method = AUTO,
    target: AnyTarget = None,
    *,
    mask: Inputs | None = None,
    steps: Steps | int | None = None,
    layers: tuple[()] = (),
    ledger: Literal[False] = False,
    batch_size: int = 256,
    out: Outs | None = None,
    verbose: int | str = "auto",
    jit_compile: JitCompile = "auto",
    verify: bool = True,
    **parameters: Any,
) -> Nested[np.ndarray]: ...


@overload
def explain(
    model: keras.Model,
    x: Inputs,
    method: str | Method = AUTO,
    target: AnyTarget = None,
    *,
    mask: Inputs | None = None,
    steps: Steps | int | None = None,
    layers: Sequence[str] = (),
    ledger: bool = False,
    batch_size: int = 256,
    out: Outs | None = None,
    verbose: int | str = "auto",
    jit_compile: JitCompile = "auto",
    verify: bool = True,
    **parameters: Any,
) -> Explanation[np.ndarray]: ...


@overload
def explain(
    model: keras.Model,
    x: tf.data.Dataset,
    method: str | Method = AUTO,
    target: AnyTarget = None,
    *,
    steps: Steps | int | None = None,
    layers: Sequence[str] = (),
    ledger: bool = False,
    verbose: int | str = "auto",
    jit_compile: JitCompile = "auto",
    verify: bool = True,
    **parameters: Any,
) -> Iterator[Any]: ...


def explain(
    model: keras.Model,
    x: Any,
    method: str | Method = AUTO,
    target: AnyTarget = None,
    *,
    mask: Inputs | None = None,
    steps: Steps | int | None = None,
    layers: Sequence[str] = (),
    ledger: bool = False,
    batch_size: int = 256,
    out: Outs | None = None,
    verbose: int | str = "auto",
    jit_compile: JitCompile = "auto",
    verify: bool = True,
    **parameters: Any,
) -> Nested[np.ndarray] | Explanation[np.ndarray] | Iterator[Any]:
    """Return the relevance of the target at every value of x.

    Args:
        model: as for `Explainer`.
        x: as for a call of an `Explainer`, explained in batches; of a mapped file, as
            `np.load(..., mmap_mode="r")` opens it, a batch at a time is in memory. Or a
            `tf.data.Dataset` of batches, whose elements are x or tuples that start with x.
        method: the name of a method ("dtd", "lrp_epsilon", "sa", ...), or a `Method`; "auto": the
            one that fits the model, see `tfrnnx.default_method`.
        target: None for the predicted class of each sample, an int, or ints (samples,); or a
            `Target`, or a callable on the model's outputs; "all" for every class.
        mask: of the steps to read, bool (samples, steps).
        steps: explain what the model says of every step, at that step: for each t, what it says
            last of x[: t + 1], without a mask, layers or a ledger. "each": the relevance of all
            steps for each, (samples, steps explained, steps, ...); "own": that of each step for
            itself, in x's shape. See `tfrnnx.explaining.steps.explain_steps`. An int is the
            method's parameter of that name.
        layers: names of layers at whose outputs relevance is returned too.
        ledger: account for all relevance.
        batch_size: how many samples of an array are explained at once, which bounds the memory.
        out: where relevance goes as it is found, in the place of memory: a writable array of
            floats of its shape, such as one that `np.lib.format.open_memmap` made, or the path of
            a .npy file, which is there whole or not at all; for several inputs a list or dict.
        verbose: 1 shows a progress bar, 0 does not; "auto" shows it for more than one batch.
        jit_compile: as of `Explainer`; "auto" there, too, of 5,000 samples or more, or of a dataset
            that does not say how many batches it has. Fewer take less time than to compile.
        verify: compare what is explained with the model's own outputs, once, on the first batch.
        **parameters: of the method.

    Returns:
        A NumPy array of x's shape, or as nested as x; a `tf.RaggedTensor` where x is one; of all
        classes (samples, classes, ...). It is `out` where that was given, of a path the mapped
        file. With `layers` or `ledger` an `Explanation` of arrays. For a dataset, an iterator over
        such, one a batch: what they add up to need not fit in memory.

    Raises:
        InputError: naming what was expected of x or target and what was received.
        UnknownNameError, ConfigError, UnsupportedLayerError, MismatchError, NotFiniteError: as
            `Explainer`.

    Examples:
        >>> model = keras.Sequential([keras.Input((9, 4)), keras.layers.LSTM(8)])
        >>> x = np.random.default_rng(0).normal(size=(5, 9, 4)).astype("float32")
        >>> tfrnnx.explain(model, x, "lrp_epsilon").shape
        (5, 9, 4)
        >>> explained = tfrnnx.explain(model, x, "lrp_epsilon", target=2, ledger=True)
        >>> np.allclose(explained.ledger.total(), explained.ledger.start, rtol=1e-4, atol=1e-6)
        True
    """
    if isinstance(steps, int):
        parameters["steps"], steps = steps, None
    if check_jit_compile(jit_compile) == "auto" and not are_many(x):
        jit_compile = False
    how = {"ledger": ledger, "jit_compile": jit_compile, "verify": verify}
    explainer = _cached_explainer(model, method, layers, how, parameters)
    full = bool(layers) or ledger
    if steps is not None:
        if full or mask is not None:
            raise InputError("Expected steps= without a mask, layers or a ledger. Received: both")
        return _explain_steps(explainer, x, target, steps, batch_size, verbose)
    if isinstance(x, tf.data.Dataset):
        if mask is not None:
            raise InputError("Expected no mask beside a dataset; ragged batches have their own.")
        if out is not None:
            raise InputError(
                "Expected no out beside a dataset, whose size may not be known. Received: "
                f"{type(out).__name__}; write each batch, as it comes"
            )
        total = int(x.cardinality())
        asked = explainer.check_batches(_batches(x), target)
        explained = _answered(explainer, asked, total if total >= 0 else None, verbose)
        return (each if full else each.relevance for each in explained)
    whole = explain_arrays(
        explainer, x, target, mask=mask, batch_size=batch_size, out=out, verbose=verbose
    )
    return whole if full else whole.relevance


def _explain_steps(
    explainer: Explainer, x: Any, target: AnyTarget, steps: Steps, batch_size: int, verbose: Any
) -> np.ndarray | Iterator[np.ndarray]:
    if isinstance(x, tf.data.Dataset):
        return (explain_steps(explainer, batch, target, steps) for batch in _batches(x))
    shown = int(len(x) > batch_size) if verbose == "auto" else int(verbose)
    return explain_steps(explainer, x, target, steps, batch_size=batch_size, verbose=shown)


def _batches(dataset: tf.data.Dataset) -> Iterator[Any]:
    """Return an iterator over x of each batch, which may stand first in a tuple."""
    return (element[0] if isinstance(element, tuple) else element for element in dataset)


def explain_arrays(
    explainer: Explainer,
    x: Inputs,
    target: AnyTarget = None,
    *,
    mask: Inputs | None = None,
    batch_size: int = 256,
    out: Outs | None = None,
    verbose: int | str = "auto",
) -> Explanation[np.ndarray]:
    """Return the explanation of arrays, made batch by batch; as `explain`, of an `Explainer`.

    Raises:
        InputError: naming what was expected of x, target or out, and what was received.
        OutputError: for a file that cannot be written.
    """
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    # Checked as a whole first: a mistake in the last sample should not cost the wait for it.
    question = explainer.check(x, target, mask=mask)
    slices = _slices(question.samples or 0, batch_size, even=explainer.compiles)
    x = explainer.words(x, question)
    explained = _answered(explainer, _parts(question, x, slices), len(slices), verbose)
    if out is None:
        return Explanation.joined(list(explained))
    names = [spec.name for spec in explainer.input_specs]
    return written(explained, out, names, question.samples or 0)


def _slices(samples: int, size: int, even: bool) -> list[slice]:
    """Return the batches of samples, at least one.

    Args:
        samples: how many there are.
        size: of a batch.
        even: whether the last batch takes a small rest of the samples, too, for which alone
            another size would be compiled.
    """
    slices = [slice(start, start + size) for start in range(0, max(1, samples), size)]
    if even and len(slices) > 1 and samples - slices[-1].start <= size // 2:
        slices[-2:] = [slice(slices[-2].start, samples)]
    return slices


def _parts(
    question: Question, x: Inputs, slices: Sequence[slice]
) -> Iterator[tuple[Question, Inputs]]:
    """Yield a question batch by batch; what was read of mapped files does not stay in memory."""
    for part in slices:
        yield question.part(part), x
        for values in question.inputs:
            release(values)


def _answered(
    explainer: Explainer,
    asked: Iterable[tuple[Question, Inputs]],
    total: int | None,
    verbose: int | str,
) -> Iterator[Explanation[np.ndarray]]:
    """Yield the explanation of every batch, of arrays, under a progress bar."""
    shown = total != 1 if verbose == "auto" else bool(verbose)
    # Where the bar cannot be redrawn in place, such as in a log file, one line at the end.
    progress = keras.utils.Progbar(total, verbose=1 if sys.stdout.isatty() else 2)
    for done, (question, x) in enumerate(asked, 1):
        yield explainer.answer(question, x).numpy()
        if shown:
            progress.update(done)


MANY = 5000  # samples for which it pays to compile
_OF_A_BATCH = 32  # samples, where a dataset does not say


def are_many(x: Any) -> bool:
    """Return whether there are so many samples that it pays to compile for them."""
    if isinstance(x, tf.data.Dataset):
        batches = int(x.cardinality())
        size = keras.tree.flatten(x.element_spec)[0].shape[:1].num_elements()
        return batches < 0 or batches * (size or _OF_A_BATCH) >= MANY
    shape = getattr(keras.tree.flatten(x)[0], "shape", ())
    return len(shape) > 0 and (shape[0] or 0) >= MANY


# Tracing takes seconds, so that `explain` keeps what it compiled last, as long as the model lives.
MOST_EXPLAINERS = 16  # of a model
_explainers: WeakKeyDictionary[keras.Model, dict[Any, Explainer]] = WeakKeyDictionary()


def _cached_explainer(
    model: keras.Model,
    method: str | Method,
    layers: Sequence[str],
    how: dict[str, Any],
    parameters: dict[str, Any],
) -> Explainer:
    # Names may be of any type before they are checked.
    chosen = AUTO if method == AUTO else get_method(method, **parameters)
    given = parameters if method == AUTO else {}

    def make(model: keras.Model) -> Explainer:
        return Explainer(model, chosen, layers=layers, **how, **given)

    key = (method, tuple(sorted(parameters.items())), tuple(layers), tuple(how.items()))
    try:
        known = _explainers.setdefault(model, {})
        hash(key)
    except TypeError:  # a model that is none, or parameters such as arrays
        return make(model)
    explainer = known.pop(key, None) or make(weakref.proxy(model))
    known[key] = explainer  # the last one used stands last
    if len(known) > MOST_EXPLAINERS:
        del known[next(iter(known))]
    return explainer
