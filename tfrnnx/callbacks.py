"""What watches a training: explanations of the same samples, epoch by epoch, in TensorBoard."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfrnnx.checks import whole_number
from tfrnnx.errors import InputError, NotFiniteError, UnstableWarning, tell
from tfrnnx.explaining.arrays import Inputs
from tfrnnx.explaining.default import AUTO
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.explaining.targets import AnyTarget
from tfrnnx.plots import plot
from tfrnnx.propagation.methods import get_method
from tfrnnx.scores.metrics import metrics, score
from tfrnnx.storage.files import output_error

_FOLDER = "explainability"  # beside "train" and "validation" of Keras's callback
_DPI = 100


class ExplainabilityMonitor(keras.callbacks.Callback):
    """Explains the same samples every few epochs of `model.fit`, and writes that to TensorBoard.

    Of each method there is a number an epoch: how well its relevance agrees with `truth`, where
    that is given; where it is not, the share of the score that arrived at the input, of methods
    that propagate relevance. And a picture of the first samples, by their kind: images, series or
    words. The folder may be that of `keras.callbacks.TensorBoard`.

    It costs what the explanations cost: 1 to 2.3 forward and backward passes over `x` a method
    and time, half a second a method to trace it at the first time, and the picture. Measured: 0.3
    seconds a time, and 1.6 once, for 100 sequences of three digits by three methods, where an epoch
    of 1,300 took 0.9 (two cores). What it took so far is written too, as "seconds". Training itself
    is not changed: the weights are those without it.

    Args:
        log_dir: TensorBoard's folder.
        x: what is explained, as for `Explainer.explain`: a few hundred samples.
        truth: what matters: of sequences of images that stand side by side 0 and 1 (samples,
            items), else 0 and 1 in the shape of x; or None.
        methods: names; or by names their parameters, `{"dtd": {"low": 0}}`; "auto" is the one
            that fits the model.
        every: epochs from one time to the next.
        target: what is explained, as for `Explainer.explain`; by default the predicted class.
        metric: a registered one that compares with the truth; by default "cosine" of items,
            "auprc" of others.
        shown: samples in the picture; 0 draws none.
        input: which of several inputs the truth and the picture are of, its name.
        **options: of the picture, such as `items=`, `channels=` or `vocabulary=`, see
            `tfrnnx.plots.plot`.

    Attributes:
        x: what is explained.
        seconds: what explaining, scoring and drawing took so far.

    Raises:
        InputError: for a truth that does not fit x.
        UnknownNameError: for an unknown method or metric.
        ConfigError: for parameters that a method does not take, or `every` below 1.

    Example:
        >>> monitor = tfrnnx.callbacks.ExplainabilityMonitor("logs", x_val[:200], every=5)
        >>> model.fit(x, y, epochs=50, callbacks=[keras.callbacks.TensorBoard("logs"), monitor])
    """

    def __init__(
        self,
        log_dir: str | Path,
        x: Inputs,
        truth: np.ndarray | None = None,
        *,
        methods: Sequence[str] | Mapping[str, Mapping[str, Any]] = (AUTO,),
        every: int = 1,
        target: AnyTarget = None,
        metric: str | None = None,
        shown: int = 6,
        input: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.folder = Path(log_dir) / _FOLDER
        self.every = whole_number("every", every, minimum=1)
        self.shown = whole_number("shown", shown, minimum=0)
        self.seconds = 0.0
        named = [methods] if isinstance(methods, str) else methods
        self._methods = {
            name: dict(named[name]) if isinstance(named, Mapping) else {} for name in named
        }
        for name, parameters in self._methods.items():
            if name != AUTO:
                get_method(name, **parameters)  # a mistake is told before the training
        self.x, self._target, self._input, self._options = x, target, input, options
        self._truth = None if truth is None else np.asarray(truth)
        self._metric = "" if self._truth is None else self._fitting(self._truth, metric)
        self._explainers: dict[str, Explainer] = {}
        self._writer: Any = None

    def _fitting(self, truth: np.ndarray, metric: str | None) -> str:
        """Return the metric that compares with the truth, once that is known to fit."""
        x = np.asarray(self.x if self._input is None else self.x[self._input])  # type: ignore[index]
        kind = "cells" if truth.shape == x.shape else "items"
        chosen = metric or next(
            name for name in metrics if metrics[name].truth == kind and metrics[name].compared
        )
        if metrics[chosen].truth is None:
            raise InputError(
                f"Expected a metric that reads the truth, such as cosine. Received: {chosen!r}"
            )
        some = slice(1) if len(truth) == len(x) else slice(None)  # else the metric says so
        score(chosen, np.zeros(x[some].shape), truth[some])
        return chosen

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Explain, and write what is found, after every so many epochs."""
        if (epoch + 1) % self.every:
            return
        start = time.monotonic()
        try:
            explained = self._explained()
        except NotFiniteError as error:  # the training may have its own way to end
            tell(f"epoch {epoch + 1} is not explained. {error}", UnstableWarning)
            return
        numbers = {
            f"{name}/{said}": value
            for name, each in explained.items()
            for said, value in self._numbers(each)
        }
        picture = self._picture(explained) if self.shown else None
        self.seconds += time.monotonic() - start
        try:
            self._write(epoch, numbers | {"seconds": self.seconds}, picture)
        except (OSError, tf.errors.OpError) as error:
            raise output_error(self.folder, error) from error

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the file; `fit` may be called again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _explained(self) -> dict[str, Explanation[np.ndarray]]:
        # Made here, because before the first epoch a model may not be built.
        if not self._explainers or next(iter(self._explainers.values())).model is not self.model:
            self._explainers = {}
            for name, parameters in self._methods.items():
                ledger = self._truth is None and (
                    name == AUTO or get_method(name, **parameters).propagates_relevance
                )
                explainer = Explainer(self.model, name, ledger=ledger, **parameters)
                self._explainers[explainer.method.name] = explainer
        return {
            name: explainer.explain(self.x, self._target).numpy()
            for name, explainer in self._explainers.items()
        }

    def _numbers(self, explanation: Explanation[np.ndarray]) -> list[tuple[str, float]]:
        """Return what is said of one method's relevance: a name and a number, or nothing."""
        if self._truth is None:
            ledger = explanation.ledger
            return [] if ledger is None else [("arrived", ledger.arrived())]
        relevance = explanation.relevance
        of_input = np.asarray(relevance if self._input is None else relevance[self._input])
        rows: Any = slice(None)
        if metrics[self._metric].truth == "cells":  # where none matters, none is to be found
            rows = self._truth.reshape(len(self._truth), -1).any(axis=1)
        values = score(self._metric, of_input[rows], self._truth[rows])
        return [(self._metric, float(values.mean()))]

    def _picture(self, explained: Mapping[str, Explanation[np.ndarray]]) -> np.ndarray:
        some = {name: each.part(slice(self.shown)) for name, each in explained.items()}
        return _pixels(plot(some, input=self._input, **self._options))

    def _write(self, epoch: int, numbers: Mapping[str, float], picture: np.ndarray | None) -> None:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.folder))
        with self._writer.as_default(step=epoch), tf.summary.record_if(True):
            for name, value in numbers.items():
                tf.summary.scalar(f"{_FOLDER}/{name}", value)
            if picture is not None:
                tf.summary.image(f"{_FOLDER}/samples", picture[None])
        self._writer.flush()


def _pixels(figure: Figure) -> np.ndarray:
    """Return a figure as uint8 (height, width, 3)."""
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
