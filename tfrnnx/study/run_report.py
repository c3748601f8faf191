"""What a trained network is worth: accuracy, explanations, and the files that show them."""

import shutil
from typing import Any

import keras

from tfrnnx.callbacks import ExplainabilityMonitor
from tfrnnx.data import DataSet, Task
from tfrnnx.explaining.targets import Target
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import validation_sequences
from tfrnnx.plots import plot, save_figure
from tfrnnx.scores.metrics import metrics
from tfrnnx.serving.saved_model import export
from tfrnnx.study.scoring import (
    Scores,
    Shown,
    facts_of,
    fitting,
    method_parameters,
    score_network,
)

_METHODS = ("sa", "gb", "dtd")
_SHOWN = 6
_WATCHED = 100  # validation sequences while it trains


def report(
    model: keras.Model, data: DataSet, config: TrainConfig, run: Run, verbose: int = 1
) -> dict[str, Any]:
    """Score a trained network on the test sequences and complete its run's folder.

    Writes heatmap.png, saved_model/ and results.json, and removes the checkpoint.

    Args:
        model: trained.
        data: the data set.
        config: that it was trained with.
        run: where the files go.
        verbose: 1 or 2 show a progress bar or its last line, 0 nothing.

    Returns:
        The content of results.json: "test_sequences"; "accuracy", or "mae" of numbers; by the name
        of the first metric that a study compares networks by, if one fits the task ("cosine" for
        images in items), its mean over the test sequences by method; "epochs" and "seconds" of
        training.

    Raises:
        OutputError: if a file cannot be written.
    """
    task = data.task(config)
    chosen = [name for name in fitting(**facts_of(task)) if metrics[name].compared][:1]
    scores = Scores(model, task, dict.fromkeys(_METHODS, chosen), shown=_SHOWN)
    score_network(scores, data, config, verbose=verbose)
    found, history = scores.summary(), run.read_history()
    results = {
        "test_sequences": found["sequences"],
        task.quality: found[task.quality],
        **{
            metric: {name: of_method[metric]["mean"] for name, of_method in found["scores"].items()}
            for metric in chosen
        },
        "epochs": len(history),
        "seconds": sum(row["seconds"] for row in history),
    }
    _draw(scores.shown, task, run)
    parameters: dict[str, Any] = {name: method_parameters(name, task) for name in _METHODS}
    export(model, run.saved_model, list(parameters), **parameters)
    run.write_results(config, results)
    shutil.rmtree(run.checkpoint, ignore_errors=True)
    return results


def _draw(shown: Shown, task: Task, run: Run) -> None:
    """Draw the first test sequences, explained."""
    captions = [
        f"{label}, predicted {predicted}"
        for label, predicted in zip(shown.label, shown.predicted, strict=True)
    ]
    figure = plot(shown.relevance, shown.x, captions=captions, **picture_options(task))
    save_figure(figure, run.heatmap)


def picture_options(task: Task) -> dict[str, Any]:
    """Return how `tfrnnx.plots.plot` is to draw the sequences of a task."""
    options: dict[str, dict[str, Any]] = {
        "images": {"items": task.items, "sequence": True, "box": task.box},
        "series": {"channels": task.channels},
        "tokens": {},
    }
    return {"kind": task.kind, **options[task.kind]}


def monitor(data: DataSet, config: TrainConfig, run: Run, every: int) -> ExplainabilityMonitor:
    """Return a callback that explains validation sequences while a run trains.

    Test sequences decide nothing, and looking at them could.

    Args:
        data: the data set.
        config: resolved for it.
        run: in whose folder of TensorBoard it writes.
        every: epochs from one time to the next.
    """
    task = data.task(config)
    x, _, *truth = next(validation_sequences(data, config, _WATCHED).as_numpy_iterator())
    known = truth[0] if truth and task.truth in ("items", "cells") else None
    methods = {name: method_parameters(name, task) for name in _METHODS}
    per_step = Target(step=-1) if task.target == "class_per_step" else None
    return ExplainabilityMonitor(
        run.logs,
        x,
        known,
        methods=methods,
        every=every,
        target=per_step,
        **picture_options(task),
    )
