"""Conv1D and GRU over sensors, explained, and checked against the events that made the labels.

Records of a pump are generated, three channels of noise and slow waves. Three of four have an event
that made the label: a pulse of pressure before one of flow, one of flow before one of pressure, or
both at once. As distractors all have one or two single pulses of pressure or flow, such as half an
event, and glitches of a single step. All stand anywhere, and records of 56 to 96 steps are padded.
Planted are the 8 or 16 steps of the event.

Example:
  python examples/sensors.py --out=sensors.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import Figure
from pointing import (
    COLORS,
    METHODS,
    limits,
    per_step,
    play,
    print_ledger,
    save,
    train,
    without_frame,
)

CHANNELS = ("pressure", "flow", "temperature")
EVENTS = ("pressure, then flow", "flow, then pressure", "both at once", "no event")
DELAYS = ((0, 8), (8, 0), (4, 4))  # of the pulses of pressure and flow, by event
NO_EVENT = len(DELAYS)
SLOT, PULSE = 16, 8  # steps
STEPS, SHORTEST = 96, 56


class Records(NamedTuple):
    """Generated records.

    Attributes:
        x: float32 (samples, STEPS, channels), padded with 0.
        y: events, int (samples,).
        planted: which steps are of the event, bool (samples, STEPS).
    """

    x: np.ndarray
    y: np.ndarray
    planted: np.ndarray


def records(samples: int, seed: int) -> Records:
    """Return generated records."""
    rng = np.random.default_rng(seed)
    y = rng.integers(len(EVENTS), size=samples)
    x = np.zeros((samples, STEPS, len(CHANNELS)), np.float32)
    planted = np.zeros((samples, STEPS), bool)
    for sample, event in enumerate(y):
        record, of_event = _record(rng, event)
        x[sample, : len(record)] = record
        planted[sample, of_event] = True
    return Records(x, y, planted)


def _record(rng: np.random.Generator, event: int) -> tuple[np.ndarray, slice]:
    """Return a record (steps, channels) and the steps of its event."""
    steps = rng.integers(SHORTEST, STEPS + 1)
    channels = len(CHANNELS)
    record = rng.normal(0, 0.15, (steps, channels))
    periods, phases = rng.uniform(40, 90, channels), rng.uniform(0, 1, channels)
    record += 0.3 * np.sin(2 * np.pi * (np.arange(steps)[:, None] / periods + phases))
    pulse = np.hanning(PULSE + 2)[1:-1]
    offset = rng.integers(steps % SLOT + 1)
    start, *others = offset + SLOT * rng.permutation(steps // SLOT)
    height = rng.uniform(1, 1.6)
    delays = () if event == NO_EVENT else DELAYS[event]
    for channel, delay in enumerate(delays):
        at = start + delay
        record[at : at + PULSE, channel] += height * rng.uniform(0.85, 1.15) * pulse
    for other in others[: rng.integers(1, 3)]:
        at = other + rng.integers(SLOT - PULSE + 1)
        record[at : at + PULSE, rng.integers(2)] += rng.uniform(1, 1.6) * pulse
    for _ in range(rng.integers(3)):
        glitch = rng.choice((-1, 1)) * rng.uniform(1, 2)
        record[rng.integers(steps), rng.integers(channels)] += glitch
    if not delays:
        return record, slice(0)
    return record, slice(start + min(delays), start + max(delays) + PULSE)


def pulses(of: Records) -> np.ndarray:
    """Return which cells of step and channel are of the event's pulses, bool in the shape of x."""
    cells = np.zeros(of.x.shape, bool)
    for sample, event in enumerate(of.y):
        delays = () if event == NO_EVENT else DELAYS[event]
        for channel, delay in enumerate(delays):
            start = int(np.argmax(of.planted[sample])) - min(delays) + delay
            cells[sample, start : start + PULSE, channel] = True
    return cells


def build() -> keras.Model:
    """Return a convolution and a GRU, which reads the steps that are not all zeros."""
    x = keras.Input((None, len(CHANNELS)))
    h = keras.layers.Conv1D(16, 13, padding="same", activation="relu")(x)
    h = keras.layers.GRU(16)(h, mask=keras.ops.any(keras.ops.not_equal(x, 0), -1))
    return keras.Model(x, keras.layers.Dense(len(EVENTS), activation="softmax")(h))


def draw(shown: Records, relevance: dict[str, np.ndarray]) -> Figure:
    """Return a figure of records, a column each: their channels over the relevance of LRP-ε.

    Below, the relevance of every step by each method; the event is framed.

    Args:
        shown: the records.
        relevance: by the methods' names, (samples, STEPS, channels); the first is that of LRP-ε.
    """
    heights = [2] * len(CHANNELS) + [0.6] * len(relevance)
    figure = Figure(figsize=(4.2 * len(shown.x), 0.62 * sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(heights), len(shown.x), squeeze=False, height_ratios=heights, sharex="col"
    )
    for column, (record, event, planted) in enumerate(zip(*shown, strict=True)):
        steps = int(record.any(-1).sum())
        first, last = np.flatnonzero(planted)[[0, -1]]
        maps = {name: values[column, :steps] for name, values in relevance.items()}
        of_channels = next(iter(maps.values()))
        low, high = record.min() - 0.2, record.max() + 0.2
        for ax, channel in zip(axes[:, column], range(len(CHANNELS)), strict=False):
            ax.imshow(
                of_channels[None, :, channel],
                cmap=COLORS,
                aspect="auto",
                extent=(-0.5, steps - 0.5, low, high),
                **limits(of_channels),
            )
            ax.plot(np.arange(steps), record[:steps, channel], color="black", linewidth=0.9)
        for ax, values in zip(axes[len(CHANNELS) :, column], maps.values(), strict=True):
            values = per_step(values[None])
            ax.imshow(
                values,
                cmap=COLORS,
                aspect="auto",
                extent=(-0.5, steps - 0.5, 0, 1),
                **limits(values),
            )
        for ax in axes[:, column]:
            without_frame(ax)
            for edge in (first - 0.5, last + 0.5):
                ax.axvline(edge, color="black", linestyle=":", linewidth=1)
        axes[0, column].set_title(EVENTS[event], fontsize=10)
        axes[-1, column].set_xlabel(f"{steps} steps", fontsize=9)
    for ax, label in zip(axes[:, 0], [*CHANNELS, *relevance], strict=True):
        ax.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    return figure


def run(
    out: Path,
    samples: int = 4000,
    epochs: int = 10,
    tests: int = 400,
    names: Sequence[str] = (),
    saved: Path | None = None,
) -> dict[str, float]:
    """Train, explain, print and draw; return the share of hits of every method.

    Args:
        out: of the picture, a file.
        samples: to train with.
        epochs: how often each is seen.
        tests: how many others are explained.
        names: of methods in `pointing.METHODS`; all by default.
        saved: a folder for the model and the other samples, if they are wanted.
    """
    keras.utils.set_random_seed(0)
    print(__doc__.split("\n\n")[1])
    training, test = records(samples, seed=1), records(tests, seed=2)
    model = build()
    train(model, training.x, training.y, epochs)
    if saved is not None:
        arrays = {"x": test.x, "y": test.y, "truth": pulses(test)}
        save(saved, model, arrays, {"labels": EVENTS})
    right = model.predict(test.x, verbose=0).argmax(1) == test.y
    print(f"Accuracy on {tests} new records: {right.mean():.1%}; right events are explained")
    test = Records(*(part[right & (test.y != NO_EVENT)] for part in test))
    print_ledger(model, test.x)
    causes = {"of the event": test.planted}
    relevance, shares = play(model, test.x, causes, test.x.any(-1), names or METHODS)
    shown = [int(np.argmax(test.y == event)) for event in range(NO_EVENT)]
    rows = [n for n in ("lrp_epsilon", "integrated_gradients", "sa") if n in relevance]
    figure = draw(Records(*(part[shown] for part in test)), {n: relevance[n][shown] for n in rows})
    figure.savefig(out, dpi=150)
    print(f"\nWrote {out}: red steps speak for the event, blue ones against it")
    return shares


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("sensors.png"), help="the picture")
    parser.add_argument("--save", type=Path, help="a folder for what bin/report reads")
    given = parser.parse_args()
    run(given.out, saved=given.save)
