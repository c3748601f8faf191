"""What a program shows of explanations: a table of the samples, pictures, coloured words."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags
from matplotlib.figure import Figure
from tabulate import tabulate

from tfrnnx.cli.given import Given
from tfrnnx.cli.places import most_relevant
from tfrnnx.errors import ConfigError, InputError
from tfrnnx.explaining.explainer import Explainer
from tfrnnx.explaining.explanation import Explanation
from tfrnnx.plots import plot, plot_ledger, save_figure, tokens_ansi, tokens_html
from tfrnnx.plots.explained import as_array, name_of
from tfrnnx.plots.pages import FORMATS, web_page
from tfrnnx.serving.archives import picture_path
from tfrnnx.storage.files import atomic

FLAGS = flags.FLAGS
Explained = Mapping[str, Explanation[np.ndarray]]


class Picture(NamedTuple):
    """A page.

    Attributes:
        name: of the input; "" is that of the only one.
        page: its number, from 1 on.
        figure: as it is drawn.
        about: what is seen, in words.
        words: coloured ones as HTML, of tokens.
    """

    name: str
    page: int
    figure: Figure
    about: str
    words: str | None = None


class Said(NamedTuple):
    """What a model says of each sample.

    Attributes:
        predicted: in words, with the probability.
        explained: likewise, where it is another class, else "".
        label: what is true, or "".
        score: the number that is explained.
    """

    predicted: list[str]
    explained: list[str]
    label: list[str]
    score: np.ndarray

    def captions(self, some: slice) -> list[str]:
        """Return a line for each of some samples."""
        parts = zip(self.label[some], self.predicted[some], self.explained[some], strict=True)
        heads = ("label ", "predicted ", "explained ")
        return [
            ", ".join(head + text for head, text in zip(heads, three, strict=True) if text)
            for three in parts
        ]


def define_showing_flags() -> None:
    """Define the flags that choose what is shown."""
    flags.DEFINE_list("format", ["png"], f"Of the pictures: some of {', '.join(FORMATS)}.")
    flags.DEFINE_integer("per_page", 12, "Samples in one picture.", lower_bound=1)
    flags.DEFINE_integer(
        "pages", 3, "Pictures of one input at most; samples beyond are neither drawn nor listed."
    )
    flags.DEFINE_bool(
        "ledger", False, "Print and draw where all relevance went, by each method of relevance."
    )


def check_showing() -> None:
    """Check what the flags choose, before anything is computed.

    Raises:
        ConfigError: for an unknown format, or pages below 0.
    """
    unknown = [name for name in FLAGS.format if name not in FORMATS]
    if unknown or not FLAGS.format:
        raise ConfigError(
            f"Expected --format to be some of {', '.join(FORMATS)}. Received: "
            f"{', '.join(unknown) or 'none'}"
        )
    if FLAGS.pages < 0:
        raise ConfigError(f"Expected --pages to be >= 0. Received: {FLAGS.pages}")


def check_names(explainer: Explainer, given: Given, output: str | None) -> None:
    """Check that words and names of classes are enough, before anything is computed.

    Raises:
        InputError: for fewer words than tokens, or another number of names than of classes.
    """
    names = explainer.output_names
    shape = explainer.output_shapes[names.index(output) if output in names else 0]
    classes = shape[-1] if len(shape) > 1 else 1
    if given.class_names and classes not in (1, len(given.class_names)):
        raise InputError(
            f"Expected --labels to name {classes} classes. Received: {len(given.class_names)}, "
            f"{', '.join(given.class_names[:5])}"
        )
    if given.vocabulary is None:
        return
    for name, x in by_name(given.x).items():
        tokens = as_array(x)
        if tokens.dtype.kind in "iu" and tokens.size and tokens.max() not in given.vocabulary:
            of = f" of input {name!r}" if name else ""
            raise InputError(
                f"Expected --vocabulary to have all tokens{of}, up to {tokens.max()}. Received: "
                f"{len(given.vocabulary)} words"
            )


def by_name(x: Any) -> dict[str, Any]:
    """Return an array, or those of several inputs, by their names; "" is that of an only one."""
    return x if isinstance(x, dict) else {"": x}


def said_of(
    logits: np.ndarray,
    target: np.ndarray,
    given: Given,
    final: Callable[[tf.Tensor], tf.Tensor] | None,
) -> Said:
    """Return what the model says.

    Args:
        logits: of the explained output, (samples, classes).
        target: the explained classes, (samples,).
        given: what was explained.
        final: the softmax or sigmoid that was looked through.
    """
    probable = _probabilities(logits, given.evidence, final)
    named = len(given.class_names) == 2 and logits.shape[1] == 1  # of one logit, no and yes

    def say(index: int, chosen: int) -> str:
        if probable is None:
            return f"{logits[index, chosen]:.4g}"
        part = probable[index, chosen]
        if logits.shape[1] > 1:
            return f"{name_of(chosen, given.class_names)} ({part:.1%})"
        yes = bool(part >= 0.5)
        return f"{given.class_names[yes] if named else int(yes)} ({part if yes else 1 - part:.1%})"

    rows = range(len(logits))
    best = logits.argmax(1)
    others = [target[row] >= 0 and target[row] != best[row] for row in rows]
    labels = given.labels
    if labels is not None and labels.ndim == 2:
        labels = labels[:, FLAGS.step if FLAGS.step is not None else -1]
    return Said(
        [say(row, int(best[row])) for row in rows],
        [say(row, int(target[row])) if others[row] else "" for row in rows],
        ["" if labels is None else _label(labels[row], given.class_names) for row in rows],
        logits[np.arange(len(logits)), np.maximum(target, 0)],
    )


def _label(label: Any, class_names: Sequence[str]) -> str:
    return f"{label:.4g}" if isinstance(label, np.floating) else name_of(label, class_names)


def _probabilities(
    logits: np.ndarray, evidence: bool, final: Callable[[tf.Tensor], tf.Tensor] | None
) -> np.ndarray | None:
    """Return probabilities, or None where the model's output is a number."""
    if final is not None:
        return np.asarray(final(tf.constant(logits)))
    if logits.shape[1] == 1:
        return None
    if (logits >= 0).all() and np.allclose(logits.sum(1), 1, atol=1e-4):
        return logits  # of a model that was explained by its own call
    powers = np.exp(logits - np.maximum(logits.max(1, keepdims=True), 0))
    none = np.exp(-np.maximum(logits.max(1, keepdims=True), 0)) if evidence else 0
    return powers / (powers.sum(1, keepdims=True) + none)


def pages_of(samples: int) -> list[slice]:
    """Return which samples are on each page."""
    starts = range(0, samples, FLAGS.per_page)[: FLAGS.pages]
    return [slice(start, min(samples, start + FLAGS.per_page)) for start in starts]


def draw(explained: Explained, given: Given, said: Said) -> list[Picture]:
    """Draw every input, page by page, and the ledgers.

    Raises:
        InputError: for what cannot be drawn.
    """
    pictures = []
    for number, some in enumerate(pages_of(len(said.score)), 1):
        parts = {method: each.part(some) for method, each in explained.items()}
        for name, kind in by_name(next(iter(parts.values())).kind).items():
            drawn = _page(parts, given, said.captions(some), name, kind)
            if drawn is not None:
                pictures.append(Picture(name, number, *drawn))
    ledgers = {name: each.ledger for name, each in explained.items() if each.ledger is not None}
    if ledgers and FLAGS.pages:
        pictures.append(Picture("ledger", 1, plot_ledger(ledgers), "where relevance went"))
    return pictures


def _page(
    parts: Explained, given: Given, captions: list[str], name: str, kind: str | None
) -> tuple[Figure, str, str | None] | None:
    some = next(iter(parts.values()))
    values = as_array(by_name(some.x)[name])
    if kind is None and not (values.dtype.kind == "f" and 2 <= values.ndim <= 4):
        return None
    key = name or None
    about = f"{kind or 'inputs'} and their relevance: {'; '.join(captions)}"
    if kind == "tokens":
        options: dict[str, Any] = {"vocabulary": given.vocabulary, "captions": captions}
        words = tokens_html(parts, input=key, **options)
        return plot(parts, kind=kind, input=key, **options), about, words
    options = {}
    if kind == "images":
        options = {"items": given.items, "box": given.box}
    elif values.ndim == 3:
        fits = given.channels is not None and len(given.channels) == values.shape[-1]
        timed = given.time is not None and len(given.time) == values.shape[1]
        options = {
            "channels": given.channels if fits else None,
            "time": given.time if timed else None,
        }
    return plot(parts, kind=kind, input=key, captions=captions, **options), about, None


def save(pictures: Sequence[Picture], archive: Path) -> list[Path]:
    """Write pictures beside an archive, in all formats; return where they are.

    Raises:
        OutputError: if one cannot be written.
    """
    paths = []
    for name, page, figure, about, words in pictures:
        for suffix in dict.fromkeys(FLAGS.format):
            path = picture_path(archive, name, page, suffix)
            paths.append(path)
            if suffix == "html" and words is not None:
                with atomic(path) as fresh:
                    fresh.write_text(web_page(words, path.stem), encoding="utf-8")
            else:
                save_figure(figure, path, about)
    return paths


def table(
    explained: Explained, given: Given, said: Said, explainers: Mapping[str, Explainer]
) -> str:
    """Return a row a sample and method: the prediction, what arrived, and what is most relevant."""
    pages = pages_of(len(said.score))
    shown = range(pages[-1].stop if pages else 0)
    rows = [row for sample in shown for row in _rows(sample, explained, given, said, explainers)]
    heads = ("sample", "label", "predicted", "explained", "method", "sum", "of the score")
    heads += ("most relevant, in parts of all |R|",)
    columns = [
        (head, column)
        for head, column in zip(heads, zip(*rows, strict=True), strict=True)
        if any(column) and (head != "explained" or any(said.explained))
    ]
    if not columns:
        return ""
    right = ("sum", "of the score")
    return tabulate(
        list(zip(*(column for _, column in columns), strict=True)),
        headers=[head for head, _ in columns],
        tablefmt="plain",
        colalign=["right" if head in right else "left" for head, _ in columns],
        disable_numparse=True,
    )


def _rows(
    sample: int,
    explained: Explained,
    given: Given,
    said: Said,
    explainers: Mapping[str, Explainer],
) -> Iterator[tuple[str, ...]]:
    name = given.names[sample] if given.names else str(sample)
    about = (name, said.label[sample], said.predicted[sample], said.explained[sample])
    for method, each in explained.items():
        one = each.part(slice(sample, sample + 1))
        parts = by_name(one.relevance).values()
        total = sum(float(np.asarray(as_array(part), np.float64).sum()) for part in parts)
        of = explainers[method].method
        score = max(0.0, said.score[sample]) if of.positive_start else said.score[sample]
        share = f"{total / score:.1%}" if of.propagates_relevance and score else ""
        yield (*about, method, f"{total:.4g}", share, most_relevant(one, given))
        about = ("",) * len(about)


def show_words(explained: Explained, given: Given, said: Said) -> None:
    """Print coloured words, of tokens, where the output is a terminal."""
    pages = pages_of(len(said.score))
    if not pages or not sys.stdout.isatty():
        return
    some = slice(0, pages[-1].stop)
    parts = {method: each.part(some) for method, each in explained.items()}
    for name, kind in by_name(next(iter(parts.values())).kind).items():
        if kind == "tokens":
            options: dict[str, Any] = {"vocabulary": given.vocabulary}
            print(tokens_ansi(parts, input=name or None, captions=said.captions(some), **options))
