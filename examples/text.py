"""A bidirectional LSTM over text, explained, and checked against the words that made the labels.

Tickets of a help desk are generated: filler, one or two phrases with a word of the ticket's
department ("trouble with the parcel"), and one or two that rule out another department ("not the
invoice", "the screen is fine"). So a word alone does not decide, but with the words around it. The
phrases stand anywhere, and tickets of all lengths up to 36 words are padded. Planted are the words
of the department, and those that rule out another one ("not", "fine"): without them the label would
be open. What is ruled out ("invoice") is not planted, and neither is the filler.

Example:
  python examples/text.py --out=text.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pointing import COLORS, METHODS, limits, play, print_ledger, save, train, without_frame

WORDS = {
    "billing": ("invoice", "refund", "receipt", "fee", "payment"),
    "delivery": ("parcel", "courier", "package", "shipment", "doorstep"),
    "account": ("password", "login", "username", "email", "profile"),
    "repair": ("screen", "battery", "charger", "hinge", "speaker"),
}
DEPARTMENTS = list(WORDS)
FILLER = (
    "hello please help me with my order from last week i have tried this twice already and nobody "
    "answered yet it was bought in march by us so what can we do now since our team waits for an "
    "answer there is some trouble again thanks a lot"
).split()
ABOUT = ("the {}", "my {}", "about the {}", "trouble with the {}", "that {} again")
NOT_ABOUT = (
    "not the {}",
    "nothing about the {}",
    "no problem with the {}",
    "the {} is fine",
    "that {} works well",
)
RULING_OUT = ("not", "nothing", "no", "problem", "fine", "works", "well")
PHRASES = [word for phrase in ABOUT + NOT_ABOUT for word in phrase.split() if word != "{}"]
VOCABULARY = list(dict.fromkeys(["", *FILLER, *PHRASES, *sum(WORDS.values(), ())]))
STEPS = 36


class Tickets(NamedTuple):
    """Generated tickets.

    Attributes:
        x: tokens, int32 (samples, STEPS), padded with 0.
        y: departments, int (samples,).
        own: which words are of the department, bool (samples, STEPS).
        planted: those, and the words that rule out another one.
    """

    x: np.ndarray
    y: np.ndarray
    own: np.ndarray
    planted: np.ndarray


def tickets(samples: int, seed: int) -> Tickets:
    """Return generated tickets."""
    rng = np.random.default_rng(seed)
    y = rng.integers(len(DEPARTMENTS), size=samples)
    x = np.zeros((samples, STEPS), np.int32)
    own = np.zeros((samples, STEPS), bool)
    for sample, department in enumerate(y):
        words, of_department = _ticket(rng, department)
        x[sample, : len(words)] = [VOCABULARY.index(word) for word in words]
        own[sample, : len(words)] = of_department
    ruling_out = np.isin(x, [VOCABULARY.index(word) for word in RULING_OUT])
    return Tickets(x, y, own, own | ruling_out)


def _ticket(rng: np.random.Generator, department: int) -> tuple[list[str], list[bool]]:
    """Return the words of a ticket, and which are of its department."""
    others = rng.permutation(np.delete(np.arange(len(DEPARTMENTS)), department))
    phrases = [(rng.choice(ABOUT), department) for _ in range(rng.integers(1, 3))]
    phrases += [(rng.choice(NOT_ABOUT), other) for other in others[: rng.integers(1, 3)]]
    phrases = [phrases[i] for i in rng.permutation(len(phrases))]
    room = STEPS - sum(len(phrase.split()) for phrase, _ in phrases)
    places = len(phrases) + 1
    fillers = rng.multinomial(rng.integers(4, room + 1), np.ones(places) / places)
    words, own = [], []
    for filler, (phrase, its_department) in zip(fillers, phrases, strict=False):
        words += [*rng.choice(FILLER, filler), *phrase.split()]
        own += [False] * (len(words) - len(own))
        at = words.index("{}")
        words[at] = str(rng.choice(WORDS[DEPARTMENTS[its_department]]))
        own[at] = its_department == department
    words += [*rng.choice(FILLER, fillers[-1])]
    return words, own + [False] * int(fillers[-1])


def build() -> keras.Model:
    """Return a bidirectional LSTM over the tokens."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(len(VOCABULARY), 16, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(16)),
            keras.layers.Dense(len(DEPARTMENTS), activation="softmax"),
        ]
    )


def draw(shown: Tickets, relevance: dict[str, np.ndarray]) -> Figure:
    """Return a figure of tickets whose words are colored by relevance, planted ones framed.

    Args:
        shown: the tickets.
        relevance: by the methods' names, (samples, STEPS).
    """
    figure = Figure(figsize=(13, 0.95 * len(shown.x) + 0.3), layout="constrained")
    axes = figure.subplots(len(shown.x), len(relevance), squeeze=False)
    for row, (tokens, department, _, planted) in enumerate(zip(*shown, strict=True)):
        for ax, (name, values) in zip(axes[row], relevance.items(), strict=True):
            _write(ax, tokens[tokens > 0], values[row], planted)
            if row == 0:
                ax.set_title(name, fontsize=10)
        axes[row, 0].set_ylabel(DEPARTMENTS[department], fontsize=10)
    return figure


def _write(ax: Axes, tokens: np.ndarray, values: np.ndarray, planted: np.ndarray) -> None:
    width, lines = 64, 3  # of the text, in letters
    without_frame(ax)
    ax.set(xlim=(0, width), ylim=(lines, 0))
    color, scale = colormaps[COLORS], Normalize(**limits(values))
    column, line = 0.0, 0
    for token, value, own in zip(tokens, values, planted, strict=False):
        word = VOCABULARY[token]
        if column + len(word) > width:
            column, line = 0.0, line + 1
        box = Rectangle(
            (column, line + 0.08),
            len(word) + 0.8,
            0.84,
            facecolor=color(scale(value)),
            edgecolor="black" if own else "none",
            linewidth=1.2,
        )
        ax.add_patch(box)
        dark = abs(scale(value) - 0.5) > 0.32
        ax.text(
            column + len(word) / 2 + 0.4,
            line + 0.5,
            word,
            family="monospace",
            fontsize=7.5,
            color="white" if dark else "black",
            ha="center",
            va="center",
        )
        column += len(word) + 1.1


def run(
    out: Path,
    samples: int = 6000,
    epochs: int = 6,
    tests: int = 500,
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
    training, test = tickets(samples, seed=1), tickets(tests, seed=2)
    model = build()
    train(model, training.x, training.y, epochs)
    if saved is not None:
        arrays = {"x": test.x, "y": test.y, "truth": test.planted}
        save(saved, model, arrays, {"labels": DEPARTMENTS, "vocabulary": VOCABULARY})
    right = model.predict(test.x, verbose=0).argmax(1) == test.y
    print(f"Accuracy on {tests} new tickets: {right.mean():.1%}; the right ones are explained")
    test = Tickets(*(part[right] for part in test))
    print_ledger(model, test.x)
    causes = {"planted": test.planted, "of the department": test.own}
    relevance, shares = play(model, test.x, causes, test.x > 0, names or METHODS)
    shown = [int(np.argmax(test.y == department)) for department in range(len(DEPARTMENTS))]
    columns = [n for n in ("lrp_epsilon", "integrated_gradients", "sa") if n in relevance]
    figure = draw(
        Tickets(*(part[shown] for part in test)), {n: relevance[n][shown] for n in columns}
    )
    figure.savefig(out, dpi=150)
    print(f"\nWrote {out}: red words speak for the department, blue ones against it")
    return shares


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("text.png"), help="the picture")
    parser.add_argument("--save", type=Path, help="a folder for what bin/report reads")
    given = parser.parse_args()
    run(given.out, saved=given.save)
