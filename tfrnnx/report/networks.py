"""The networks of a report."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrnnx.errors import InputError
from tfrnnx.handlers import Text, reads_text
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.storage.models import load_model, model_file

_LAYERS = 60  # in the card of a model, at most


@dataclass(frozen=True, eq=False)
class Network:
    """A model, and what is known about it.

    Attributes:
        name: as the page calls it.
        path: of its file.
        model: of one input and one output; of text the part that reads its tokens.
        text: what makes tokens of strings, or None.
        config: of the run that trained it, or None.
    """

    name: str
    path: Path
    model: keras.Model
    text: Text | None
    config: TrainConfig | None

    @property
    def predict(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """From inputs to probabilities; None of networks whose logits are evidence."""
        if self.config is not None:
            return None
        return lambda x: probabilities(self.model.predict_on_batch(x))

    def called(self, name: str) -> "Network":
        """Return the same by another name."""
        return replace(self, name=name)

    def card(self) -> list[tuple[str, str]]:
        """Return what is known about the model, as names and values."""
        rows = [
            ("file", str(self.path)),
            ("class", f"{type(self.model).__name__}, {len(self.model.layers)} layers"),
            ("parameters", f"{self.model.count_params():,}"),
            ("input", _said(self.model.inputs[0])),
            ("output", _said(self.model.outputs[0])),
        ]
        if self.config is not None:
            shown = ("arch", "dataset", "epochs", "batch_size", "learning_rate", "dropout", "seed")
            rows += [(name, str(getattr(self.config, name))) for name in shown]
            results = Run.of_model(self.path).read_results(self.config) or {}
            for name in ("accuracy", "mae"):
                if name in results:
                    of = f"{results[name]:.4f} of {results['test_sequences']:,} test sequences"
                    rows.append((f"{name} when trained", of))
        if model_file(self.path).with_name("cell.json").is_file():
            rows.append(("of a study", "test samples of the set may have trained it, in its folds"))
        return rows

    def layers(self) -> list[tuple[str, str, str, str]]:
        """Return name, class, output shape and parameters of every layer, or of the first."""
        return [
            (
                layer.name,
                type(layer).__name__,
                _said(layer.output) if _has_output(layer) else "",
                f"{layer.count_params():,}" if layer.built else "",
            )
            for layer in self.model.layers[:_LAYERS]
        ]


def load_network(path: str | Path) -> Network:
    """Load a model of one input and one output.

    Raises:
        ModelFileError: as `load_model`.
        InputError: for another number of inputs or outputs.
    """
    model = load_model(path)
    if not getattr(model, "inputs", None) or len(model.inputs) != 1 or len(model.outputs) != 1:
        received = f"{len(model.inputs or ())} inputs and {len(model.outputs or ())} outputs"
        raise InputError(
            f"Expected a model of one input and one output for a report. Received: {path}, with "
            f"{received}; bin/explain shows models of several"
        )
    text = Text(model) if reads_text(model) else None
    file = model_file(path)
    name = file.parent.name if file.name == "model.keras" and file.parent.name else file.stem
    config = Run.of_model(path).read_config() if Run.of_model(path).config.is_file() else None
    return Network(name, Path(path), model if text is None else text.behind, text, config)


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Return probabilities of classes (..., classes), of what a stock model puts out.

    One output is that of yes, or its logit; several are taken as they are where they sum to 1, else
    for logits.
    """
    outputs = np.asarray(outputs, np.float64)
    if outputs.shape[-1] == 1:
        is_part = ((outputs >= 0) & (outputs <= 1)).all()
        yes = outputs if is_part else 1 / (1 + np.exp(-outputs))
        return np.concatenate([1 - yes, yes], -1)
    if (outputs >= 0).all() and np.allclose(outputs.sum(-1), 1, atol=1e-3):
        return outputs
    powers = np.exp(outputs - outputs.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _has_output(layer: keras.layers.Layer) -> bool:
    try:
        return not isinstance(layer.output, list | tuple | dict)
    except (AttributeError, ValueError):
        return False


def _said(tensor: Any) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in tensor.shape[1:])
    return f"({sizes}) {tensor.dtype}" if sizes else str(tensor.dtype)
