"""What is checked: a method on a model, and some samples with their explanation."""

import itertools
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrnnx import _keras
from tfrnnx.errors import InputError
from tfrnnx.explaining.batches import explain_arrays
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.targets import ALL, AnyTarget, Target
from tfrnnx.propagation.methods import Method
from tfrnnx.sanity.registry import NotApplicable
from tfrnnx.sanity.scoring import nested, scores_at

Arrays = list[np.ndarray]  # one for each of the model's inputs


class Replica(NamedTuple):
    """A model whose weights may be changed.

    Attributes:
        model: a clone, or the model itself.
        explainer: of it.
    """

    model: keras.Model
    explainer: Explainer


class Subject:
    """A method on a model, with samples and their explanation.

    The explained class is held: what is predicted at the samples is explained of all that is made
    of them, and of models with other weights.

    Args:
        model: that is explained.
        method: how.
        x: samples, as `tfrnnx.explain` takes them, but ragged ones.
        target: what is explained; not "all".
        mask: of the steps to read.
        parameters: of the method, where it was made by its name, for others of the same kind.
        baseline: what stands for "not there": a number, an array that broadcasts to x, or a list
            with one for each input. None: the least value of a method with a box, else 0.
        seed: of all that is drawn.
        batch_size: how many samples are explained at once.

    Attributes:
        xs: the samples, an array for each input; of text its tokens.
        masks: of each input, or None.
        explained: their explanation.
        worked_on: whose weights were changed so far.

    Raises:
        InputError: as an explainer; for ragged tensors, and "all".
    """

    def __init__(
        self,
        model: keras.Model,
        method: Method,
        x: Any,
        target: AnyTarget = None,
        *,
        mask: Any = None,
        parameters: dict[str, Any] | None = None,
        baseline: Any = None,
        seed: int = 0,
        batch_size: int = 256,
    ) -> None:
        index = target.index if isinstance(target, Target) else target
        if isinstance(index, str) and index == ALL:
            raise InputError('Expected one class a sample to be checked. Received: target="all"')
        if any(isinstance(part, tf.RaggedTensor) for part in keras.tree.flatten(x)):
            raise InputError("Expected x padded, with a mask. Received: a RaggedTensor")
        self.model = model
        self.method = method
        self.parameters = parameters
        self.seed = seed
        self.batch_size = batch_size
        self.worked_on = "nothing"
        self._replica: Replica | None = None
        self._scorer: Explainer | None = None
        self.explainer = Explainer(model, method, jit_compile=False)
        question = self.explainer.check(x, target, mask=mask)
        if not question.samples:
            raise InputError("Expected at least one sample to be checked. Received: none")
        self.xs: Arrays = [np.asarray(part) for part in question.inputs]
        self.tokens = question.tokens | {
            n for n, part in enumerate(self.xs) if part.dtype.kind not in "f"
        }
        self.masks = [None if m is None else np.asarray(m) for m in question.masks]
        self.baselines = self._baselines(baseline)
        self._target: AnyTarget = target
        self.explained: Explanation[np.ndarray] = self.explain()
        if not callable(target):
            given = target if isinstance(target, Target) else Target(target)
            self._target = replace(given, index=np.asarray(self.explained.target))
        self.rows = self.rows_of(self.explained)

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self.xs[0])

    @property
    def counts_from_the_end(self) -> bool:
        """Whether a step of the target is given from the end."""
        step = self._target.step if isinstance(self._target, Target) else None
        return step is not None and bool((np.asarray(step) < 0).any())

    def rng(self, name: str) -> np.random.Generator:
        """Return the generator of a check, whichever others are run."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def explain(
        self,
        xs: Sequence[np.ndarray] | None = None,
        explainer: Explainer | None = None,
        masks: Sequence[np.ndarray | None] | None = None,
    ) -> Explanation[np.ndarray]:
        """Explain other values of the samples, or by another explainer."""
        given = self.masks if masks is None else masks
        return explain_arrays(
            explainer or self.explainer,
            nested(self.xs if xs is None else xs),
            self._target,
            mask=None if all(mask is None for mask in given) else nested(given),
            batch_size=self.batch_size,
            verbose=0,
        )

    def rows_of(self, explained: Explanation[np.ndarray]) -> Arrays:
        """Return the relevance of each sample as a row, float64, without masked steps."""
        return self.rows_at(keras.tree.flatten(explained.relevance))

    def rows_at(self, values: Sequence[np.ndarray]) -> Arrays:
        """Return values in the shape of the inputs as a row a sample, without masked steps."""
        parts = [np.asarray(part, np.float64) for part in values]
        return [
            np.concatenate(
                [part[i][there[i]] for part, there in zip(parts, self._there, strict=True)]
            )
            for i in range(self.samples)
        ]

    def spread(self, rows: Sequence[np.ndarray]) -> Arrays:
        """Return rows as `rows_at` makes them in the shape of the inputs, 0 at masked steps."""
        found = [np.zeros(part.shape, np.float64) for part in self.xs]
        for i, row in enumerate(rows):
            start = 0
            for part, there in zip(found, self._there, strict=True):
                stop = start + int(there[i].sum())
                part[i][there[i]] = row[start:stop]
                start = stop
        return found

    @property
    def _there(self) -> list[np.ndarray]:
        """Where values are read, bool in the shape of each input."""
        found = []
        padding = any(getattr(layer, "mask_zero", False) for layer in _keras.layers_of(self.model))
        for number, (x, mask) in enumerate(zip(self.xs, self.masks, strict=True)):
            there = np.ones(x.shape, bool)
            if mask is not None:
                there &= mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
            elif number in self.tokens and padding:
                there &= x != 0
            found.append(there)
        return found

    def scores(self, many: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
        """Return the explained score at other values of the samples, (draws, samples), float64.

        It is the logit of the explained class, or what else the target asks for.

        Args:
            many: the inputs' arrays, draw by draw.
        """
        if self._scorer is None:
            cheap = self.method.name == "gradient"  # only its outputs are read
            self._scorer = (
                self.explainer
                if cheap
                else Explainer(self.model, "gradient", jit_compile=False, verify=False)
            )
        found: list[np.ndarray] = []
        remaining = iter(many)
        while some := list(itertools.islice(remaining, max(1, self.batch_size // self.samples))):
            found.append(scores_at(self._scorer, some, self._target, self.masks))
        return np.concatenate(found)

    def _baselines(self, baseline: Any) -> Arrays:
        """Return what stands for "not there", in the shape of the inputs."""
        low = 0.0 if self.method.box is None else self.method.box[0]
        several = isinstance(baseline, list | tuple)
        given = list(baseline) if several else [baseline] * len(self.xs)
        if len(given) != len(self.xs):
            raise InputError(
                f"Expected a baseline for each of {len(self.xs)} inputs. Received: {len(given)}"
            )
        found = []
        for number, (x, value) in enumerate(zip(self.xs, given, strict=True)):
            value = (0 if number in self.tokens else low) if value is None else value
            try:
                found.append(np.broadcast_to(np.asarray(value, x.dtype), x.shape))
            except (ValueError, TypeError):
                raise InputError(
                    f"Expected a baseline that broadcasts to {x.shape}. Received: {value!r}"
                ) from None
        return found

    def clipped(self, xs: Sequence[np.ndarray]) -> Arrays:
        """Return values inside of the method's box, if it has one, in the inputs' dtypes."""
        found = []
        for x, like in zip(xs, self.xs, strict=True):
            inside = x if self.method.box is None else np.clip(x, *self.method.box)
            found.append(np.asarray(inside, like.dtype))
        return found

    def only_floats(self) -> None:
        """Say that a check which moves values a little does not apply to tokens.

        Raises:
            NotApplicable: where an input is of tokens.
        """
        if self.tokens:
            raise NotApplicable("tokens cannot be moved a little")

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        """Yield a model whose weights may be changed; afterwards they are what they were.

        It is a clone where Keras can make one that computes the same; else the model itself.
        """
        if self._replica is None:
            self._replica = self._made()
        model = self._replica.model
        self.worked_on = "the model, restored" if model is self.model else "a clone"
        saved = [np.array(variable) for variable in model.variables]
        try:
            yield self._replica
        finally:
            for variable, value in zip(model.variables, saved, strict=True):
                variable.assign(value)

    def _made(self) -> Replica:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                clone = keras.models.clone_model(self.model)
                clone.set_weights(self.model.get_weights())
                explainer = Explainer(clone, self.method, jit_compile=False)
                again = self.rows_of(self.explain(explainer=explainer))
                if all(
                    np.allclose(a, b, 1e-3, 1e-6) for a, b in zip(again, self.rows, strict=True)
                ):
                    return Replica(clone, explainer)
            except Exception:  # whatever a layer's configuration lacks
                pass
        return Replica(self.model, self.explainer)
