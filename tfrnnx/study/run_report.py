"""What a trained network is worth: accuracy, explanations, and the files that show them."""

import shutil
from typing import Any

import keras

from tfrnnx.data import DataSet, Task
from tfrnnx.networks.runs import Run, TrainConfig
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
    options: dict[str, dict[str, Any]] = {
        "images": {"items": task.items, "sequence": True, "box": task.box},
        "series": {"channels": task.channels},
        "tokens": {},
    }
    figure = plot(shown.relevance, shown.x, kind=task.kind, captions=captions, **options[task.kind])
    save_figure(figure, run.heatmap)
