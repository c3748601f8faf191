"""What a trained network is worth: accuracy, explanations, and the files that show them."""

import shutil
from typing import Any

import keras
import numpy as np

from tfrnnx.data import ImageSet
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import test_sequences
from tfrnnx.plots.heatmaps import heatmaps, save_figure
from tfrnnx.scores.metrics import metrics
from tfrnnx.serving.saved_model import DEFAULT_METHODS, export
from tfrnnx.storage.files import write_json

_SHOWN = 6


def report(
    model: keras.Model, data: ImageSet, config: TrainConfig, run: Run, verbose: int = 1
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
        The content of results.json: "test_sequences", "accuracy" and "cosine", the mean over the
        test sequences of the predicted class's cosine similarity to the mask by method; "epochs"
        and "seconds" of training.

    Raises:
        OutputError: if a file cannot be written.
    """
    explainers = {name: Explainer(model, name) for name in DEFAULT_METHODS}
    sequences = test_sequences(data, config)
    progress = keras.utils.Progbar(len(sequences), verbose=verbose, unit_name="batch")
    correct: list[np.ndarray] = []
    cosines: dict[str, list[np.ndarray]] = {name: [] for name in explainers}
    for done, (x, label, mask) in enumerate(sequences, 1):
        for name, explainer in explainers.items():
            explained = explainer.explain(x)
            cosines[name].append(metrics["cosine"](explained.relevance.numpy(), mask.numpy()))
        correct.append(np.argmax(explained.logits, -1) == label)
        if verbose:
            progress.update(done)
    history = run.read_history()
    results = {
        "test_sequences": len(data.test),
        "accuracy": float(np.mean(np.concatenate(correct))),
        "cosine": {name: float(np.mean(np.concatenate(v))) for name, v in cosines.items()},
        "epochs": len(history),
        "seconds": sum(row["seconds"] for row in history),
    }
    _draw(explainers, data, config, run)
    export(model, run.saved_model)
    write_json(run.results, results)
    shutil.rmtree(run.checkpoint, ignore_errors=True)
    return results


def _draw(explainers: dict[str, Explainer], data: ImageSet, config: TrainConfig, run: Run) -> None:
    """Draw the first test sequences, explained."""
    x, label, _ = next(iter(test_sequences(data, config).unbatch().batch(_SHOWN)))
    explained = {name: explainer.explain(x) for name, explainer in explainers.items()}
    predicted = next(iter(explained.values())).target.numpy()
    captions = [
        f"{data.class_names[a]}, predicted {data.class_names[b]}"
        for a, b in zip(label.numpy(), predicted, strict=True)
    ]
    relevance = {name: explanation.relevance.numpy() for name, explanation in explained.items()}
    save_figure(heatmaps(x.numpy(), relevance, captions, config.items), run.heatmap)
