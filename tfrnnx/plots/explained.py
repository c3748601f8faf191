"""What plots draw: explanations or arrays, of one method or of several."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from tfrnnx.errors import InputError


class Explanation(Protocol):
    """What plots read of a `tfrnnx.Explanation`."""

    @property
    def relevance(self) -> Any:
        """Of the input's shape."""
        ...

    @property
    def logits(self) -> Any:
        """The model's output."""
        ...

    @property
    def target(self) -> Any:
        """The explained classes."""
        ...

    @property
    def x(self) -> Any:
        """What was explained."""
        ...

    @property
    def kind(self) -> Any:
        """What the values of x are."""
        ...


# What `Explainer.explain` returns, or relevance; or several of them by the methods' names.
Explained = Explanation | ArrayLike | Mapping[str, Explanation | ArrayLike]

_AXES = {"tokens": (2,), "series": (2, 3), "images": (3, 4)}


class Given(NamedTuple):
    """What a plot draws.

    Attributes:
        relevance: by the methods' names, arrays of one shape; "" is that of an only one.
        x: of that shape, or None.
        kind: "tokens", "series" or "images".
        captions: a line a sample.
    """

    relevance: dict[str, np.ndarray]
    x: np.ndarray | None
    kind: str
    captions: list[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x and of the relevance of each method."""
        return next(iter(self.relevance.values())).shape

    @property
    def largest(self) -> float:
        """The largest |R| of all."""
        return max(float(np.abs(maps).max()) for maps in self.relevance.values())

    def with_relevance(self, relevance: dict[str, np.ndarray]) -> "Given":
        """Return the same with other maps."""
        return self._replace(relevance=relevance)


def read(
    explained: Explained,
    x: Any = None,
    *,
    captions: Sequence[str] | None = None,
    input: str | int | None = None,
    kind: str | None = None,
    classes: bool = False,
) -> Given:
    """Return what is to be drawn, checked.

    Args:
        explained: an explanation, or relevance (samples, ...); or several by the methods' names.
        x: what was explained; by default the explanation's.
        captions: a line a sample; by default what the explanation predicts.
        input: which of several inputs, its name or number; by default the first of this kind.
        kind: what x is; None: what the explanation or the axes of x say.
        classes: the relevance is of every class, (samples, classes, ...).

    Raises:
        InputError: for arrays that do not fit together, or are not of this kind; no samples; NaN.
    """
    several = dict(explained) if isinstance(explained, Mapping) else {"": explained}
    if not several:
        raise InputError("Expected an explanation, or relevance. Received: none")
    first = next(iter(several.values()))
    key = _which(first, input, kind)
    relevance = {
        name: _numbers(name, _part(getattr(each, "relevance", each), key))
        for name, each in several.items()
    }
    x = getattr(first, "x", None) if x is None else x
    x = None if x is None else as_array(_part(x, key))
    shape = next(iter(relevance.values())).shape
    shape = (shape[0], *shape[2:]) if classes else shape
    chosen = kind or _part(getattr(first, "kind", None), key) or _kind(shape, x)
    _check(relevance, x, shape, chosen, classes)
    if captions is None:
        has_outputs = hasattr(first, "logits")
        captions = captions_of(cast(Explanation, first)) if has_outputs else _numbered(shape[0])
    if isinstance(captions, str) or len(captions) != shape[0]:
        received = repr(captions) if isinstance(captions, str) else f"{len(captions)}"
        raise InputError(f"Expected a caption for each of {shape[0]} samples. Received: {received}")
    return Given(relevance, x, chosen, [str(caption) for caption in captions])


def kind_of(explained: Explained, x: Any = None, input: str | int | None = None) -> str:
    """Return what the explanation, or the axes of what was explained, say x is.

    Raises:
        InputError: as `read`.
    """
    return read(explained, x, input=input).kind


def captions_of(
    explanation: Explanation,
    labels: Sequence[Any] | np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> list[str]:
    """Return a line for every sample: its label, if it has one, and what is explained of it.

    Args:
        explanation: of a classifier, or of a number.
        labels: what is true of each: classes, or words.
        class_names: one a class, in the place of its number.
    """
    logits = np.asarray(_first(explanation.logits))
    targets = np.asarray(explanation.target)
    if logits.ndim > 2 or (labels is None and targets.ndim != 1):
        return _numbered(len(logits))
    captions = []
    for index, row in enumerate(logits.reshape(len(logits), -1)):
        said = []
        if labels is not None:
            said.append(f"label {name_of(labels[index], class_names)}")
        target = targets[index] if targets.ndim == 1 else -1
        if len(row) == 1:
            said.append(f"output {row[0]:.2f}")
        else:
            said.append(f"predicted {name_of(row.argmax(), class_names)}")
            if target >= 0 and target != row.argmax():
                said.append(f"explained {name_of(target, class_names)}")
        captions.append(", ".join(said))
    return captions


def name_of(label: Any, class_names: Sequence[str]) -> str:
    """Return the name of a class, or what is there in its place."""
    is_class = isinstance(label, int | np.integer) and 0 <= label < len(class_names)
    return str(class_names[int(label)]) if is_class else str(label)


def as_array(x: Any) -> np.ndarray:
    """Return an array of what holds numbers or text; of ragged tensors padded, bytes decoded."""
    if hasattr(x, "to_tensor"):
        x = x.to_tensor()
    x = np.asarray(x)
    if x.dtype.kind in "SO":
        decoded = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in x.flat]
        x = np.array(decoded, dtype=str).reshape(x.shape)
    return x


def first_of(explanation: Any, kinds: Sequence[str]) -> str | int | None:
    """Return the name or number of the first of several inputs that can be drawn.

    Raises:
        InputError: if there is none.
    """
    found = explanation.kind
    if not isinstance(found, dict | list):
        return None
    pairs = found.items() if isinstance(found, dict) else enumerate(found)
    for key, kind in pairs:
        if kind in kinds:
            return key
    raise InputError(
        f"Expected an input of {', '.join(kinds)}. Received: {', '.join(str(k) for _, k in pairs)}"
    )


def _which(explanation: Any, input: str | int | None, kind: str | None) -> str | int | None:
    relevance = getattr(explanation, "relevance", None)
    if not isinstance(relevance, dict | list):
        return None
    if input is None:
        return first_of(explanation, [kind] if kind else list(_AXES))
    known = list(relevance) if isinstance(relevance, dict) else list(range(len(relevance)))
    if input not in known:
        raise InputError(
            f"Expected input to be one of {', '.join(map(str, known))}. Received: {input!r}"
        )
    return input


def _part(value: Any, key: str | int | None) -> Any:
    # An array that a user gives for one of several inputs is that one.
    if key is None or not isinstance(value, dict | list | tuple):
        return value
    return value[key]  # type: ignore[index]


def _first(value: Any) -> Any:
    while isinstance(value, dict | list | tuple):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return value


def _numbered(count: int) -> list[str]:
    return [f"sample {index}" for index in range(count)]


def _numbers(name: str, values: Any) -> np.ndarray:
    array = as_array(values)
    what = f"the relevance of {name!r}" if name else "relevance"
    if array.dtype.kind not in "fiu" or array.ndim < 2 or 0 in array.shape:
        raise InputError(
            f"Expected {what} to be floats (samples, steps, ...). Received: {array.dtype} of "
            f"shape {array.shape}"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"Expected {what} to be finite. Received: NaN or Inf")
    return array


def _kind(shape: tuple[int, ...], x: np.ndarray | None) -> str:
    """Return what x is, by its axes."""
    if x is not None and x.ndim == 2 and x.dtype.kind in "Uiu":
        return "tokens"
    return "images" if len(shape) == 4 else "series"


def _check(
    relevance: Mapping[str, np.ndarray],
    x: np.ndarray | None,
    shape: tuple[int, ...],
    kind: str,
    classes: bool,
) -> None:
    if kind not in _AXES:
        raise InputError(f"Expected kind to be one of {', '.join(_AXES)}. Received: {kind!r}")
    for name, maps in relevance.items():
        of_one = (maps.shape[0], *maps.shape[2:]) if classes else maps.shape
        if of_one != shape:
            raise InputError(
                f"Expected the relevance of {name!r} to have the shape of the others, {shape}. "
                f"Received: {maps.shape}"
            )
    if x is not None and x.shape != shape:
        hint = "" if classes or len(shape) != x.ndim + 1 else "; of every class: plot_classes"
        raise InputError(f"Expected relevance of x's shape, {x.shape}. Received: {shape}{hint}")
    if len(shape) not in _AXES[kind]:
        axes = " or ".join(map(str, _AXES[kind]))
        raise InputError(f"Expected {kind} of {axes} axes. Received: shape {shape}")
