"""What the script of a report draws: samples, relevance and scores, small enough for one file."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfrnnx.data import to_image
from tfrnnx.plots.explained import Given
from tfrnnx.plots.pages import COLORS
from tfrnnx.plots.series import used_steps, with_channels
from tfrnnx.plots.tokens import texts_of
from tfrnnx.report.gallery import Ranking
from tfrnnx.report.material import Material
from tfrnnx.report.scored import ARRIVED, Scored

_SIDE = 160  # pixels of a picture, at most; larger ones are summed up in blocks
_LONGEST = 1500  # steps of a series, likewise
_STOPS = 33  # of colours
# In the dark zero is dark, so that empty space stays empty.
_DARK = ((0x74, 0xB9, 0xEA), (0x1B, 0x1F, 0x26), (0xF7, 0x8F, 0x76))


def embedded(
    all_scored: Sequence[Scored], chosen: Mapping[int, list[str]], ranked: Ranking
) -> dict[str, Any]:
    """Return what the page's script reads, for JSON.

    Args:
        all_scored: the networks, the first one being the report's own.
        chosen: numbers of the samples that are shown, with their groups.
        ranked: the order of samples.
    """
    first = all_scored[0]
    material, some = first.material, np.array(list(chosen))
    task, labels = material.task, material.labels()
    relevance = {
        one.network.name: {name: one.relevance(name, some) for name in one.methods}
        for one in all_scored
    }
    drawn = _Drawn(material, some, [each for of in relevance.values() for each in of.values()])
    metrics = [*first.metrics, *([ARRIVED] if first.ledgers else [])]
    position = {index: at for at, index in enumerate(chosen)}
    return {
        "kind": task.kind,
        "side": drawn.layout,
        "samples": [
            {"number": int(index), "label": labels[index], "groups": groups}
            for index, groups in chosen.items()
        ],
        "best": [position[index] for index in ranked.order if index in position],
        "ranked": {"method": ranked.method, "metric": ranked.metric},
        "items": task.items,
        "channels": list(task.channels),
        "majority": material.truth[some].tolist()
        if material.truth is not None and task.truth == "items"
        else None,
        "truth": drawn.truth,
        "x": drawn.x,
        "words": drawn.words,
        "used": drawn.used,
        "block": drawn.block,
        "metrics": metrics,
        "networks": [
            {
                "name": one.network.name,
                "quality": one.quality,
                "predicted": [one.said()[index] for index in chosen],
                "right": None if one.right() is None else one.right()[some].tolist(),  # type: ignore[index]
                "relevance": {
                    name: drawn.quantized(each)
                    for name, each in relevance[one.network.name].items()
                },
                "scores": {
                    name: {m: _rounded(one.per_sample(name, m)[some]) for m in metrics}
                    for name in one.methods
                },
                "means": {
                    name: {m: _mean(one.per_sample(name, m)) for m in metrics}
                    for name in one.methods
                },
            }
            for one in all_scored
        ],
        "quality": task.quality,
        "colors": colors(),
    }


class _Drawn:
    """Samples as they are drawn: pictures, curves or words.

    Attributes:
        layout: sizes by name.
        x: what was explained, or None of words.
        words: of each sample; None of others.
        used: steps of each sample that are no padding; of words, which steps these are.
        truth: which cells matter, or None.
        block: how many pixels or steps are drawn as one.
    """

    def __init__(self, material: Material, some: np.ndarray, maps: Sequence[np.ndarray]) -> None:
        self._material, task = material, material.task
        x = material.x[some]
        truth = material.truth[some] if task.truth in ("cells", "steps") else None  # type: ignore[index]
        self.words: list[list[str]] | None = None
        self.used: list[Any] | None = None
        if task.kind == "tokens":
            by_number = {str(i): each.astype(float) for i, each in enumerate(maps)}
            texts = texts_of(Given(by_number, x, "tokens", [""] * len(x)), material.words)
            self.words = [text.words for text in texts]
            self.used = [text.steps.tolist() for text in texts]
            self.layout, self.block, self.x = {"steps": x.shape[1]}, 1, None
        elif task.kind == "series":
            curves = with_channels(x)
            self.block = -(-curves.shape[1] // _LONGEST)
            curves = self._blocks(curves).mean(2)
            self.layout = {"steps": curves.shape[1], "channels": curves.shape[2]}
            self.x = packed(curves.astype(np.float32))
            each = [self._as_drawn(one) for one in maps]
            self.used = [used_steps(row, [m[i] for m in each]) for i, row in enumerate(curves)]
        else:
            self._sequence = task.items > 1 or x.shape[-1] not in (1, 3, 4)
            pictures = to_image(x) if self._sequence else x
            self.block = -(-max(pictures.shape[1:3]) // _SIDE) if not self._sequence else 1
            pictures = self._patches(pictures).mean((2, 4))
            low, high = task.box
            grey = np.clip((pictures - low) / ((high - low) or 1), 0, 1) * 255
            if not self._sequence:
                grey = grey[..., :3] if grey.shape[-1] > 1 else grey[..., 0]
            self.layout = {
                "height": pictures.shape[1],
                "width": pictures.shape[2],
                "steps": x.shape[1] if self._sequence else 0,
                "colors": grey.shape[3] if grey.ndim == 4 else 1,
                "low": low,
                "high": high,
            }
            self.x = packed(np.rint(grey).astype(np.uint8))
        self.truth = None if truth is None else packed((self._as_drawn(truth) > 0).astype(np.uint8))

    def quantized(self, relevance: np.ndarray) -> dict[str, Any]:
        """Return maps as integers, of pictures of 8 bits and else of 16, in parts of a scale."""
        maps = self._as_drawn(relevance)
        steps, kind = (127, np.int8) if self._material.task.kind == "images" else (32767, np.int16)
        scale = np.abs(maps).reshape(len(maps), -1).max(1)
        parts = maps / np.where(scale > 0, scale, 1).reshape(-1, *[1] * (maps.ndim - 1))
        return {
            **packed(np.rint(steps * parts).astype(kind)),
            "scale": [float(f"{value / steps:.5g}") for value in scale],
        }

    def _as_drawn(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float64)
        kind = self._material.task.kind
        if kind == "tokens":
            return values
        if kind == "series":
            return self._blocks(with_channels(values)).sum(2)
        return self._patches(to_image(values) if self._sequence else values.sum(-1)).sum((2, 4))

    def _blocks(self, curves: np.ndarray) -> np.ndarray:
        padding = -curves.shape[1] % self.block
        padded = np.pad(curves, ((0, 0), (0, padding), (0, 0)))
        return padded.reshape(len(curves), -1, self.block, curves.shape[2])

    def _patches(self, pictures: np.ndarray) -> np.ndarray:
        size, more = self.block, pictures.shape[3:]
        edges = [(0, 0), *((0, -n % size) for n in pictures.shape[1:3]), *[(0, 0)] * len(more)]
        padded = np.pad(pictures, edges)
        high, wide = (n // size for n in padded.shape[1:3])
        return padded.reshape(len(pictures), high, size, wide, size, *more)


def packed(values: np.ndarray) -> dict[str, Any]:
    """Return an array for the script: its type, and its bytes in base64."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return {"type": values.dtype.name, "data": base64.b64encode(little.tobytes()).decode("ascii")}


def colors() -> dict[str, list[list[int]]]:
    """Return the colours of relevance from -1 to 1, on a light page and on a dark one."""
    at = np.linspace(-1, 1, _STOPS)
    light = np.rint(255 * COLORS(np.linspace(0, 1, _STOPS))[:, :3]).astype(int)
    dark = [np.interp(at, (-1, 0, 1), channel) for channel in zip(*_DARK, strict=True)]
    return {"light": light.tolist(), "dark": np.rint(np.stack(dark, 1)).astype(int).tolist()}


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
