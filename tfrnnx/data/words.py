"""Words from a user's own files: vocabularies, names of classes, texts and their tokens."""

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrnnx.errors import DataError, InputError

_UNKNOWN = ("[UNK]", "<unk>", "<UNK>", "[unk]")  # in the place of words that are not known
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def read_vocabulary(path: str | Path) -> dict[int, str]:
    r"""Return the words of a vocabulary by their tokens.

    Args:
        path: a text file, a word a line in the order of tokens from 0 on, as `"\\n".join` of
            Keras's `get_vocabulary()` is; or a .json file with a list of them, or an object of
            tokens by words or of words by tokens.

    Raises:
        DataError: for a file that is missing or unreadable.
        InputError: for a file of something else.
    """
    found = _content(Path(path))
    if isinstance(found, list):
        return dict(enumerate(found))
    turned = all(isinstance(token, int) for token in found.values())
    try:
        return {int(t): str(w) for t, w in ((v, k) if turned else (k, v) for k, v in found.items())}
    except ValueError:
        raise InputError(
            f"Expected tokens by words, or words by tokens, in {path}. Received: neither"
        ) from None


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Return the names of classes.

    Args:
        path: a text file, a name a line, or a .json file with a list of them.

    Raises:
        DataError: for a file that is missing or unreadable.
        InputError: for a file of something else.
    """
    found = _content(Path(path))
    if not isinstance(found, list):
        raise InputError(f"Expected a list of names in {path}. Received: an object")
    return tuple(found)


def read_texts(path: str | Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        DataError: for a file that is missing or unreadable.
        InputError: if there is none.
    """
    texts = [line.strip() for line in _text(Path(path)).splitlines() if line.strip()]
    if not texts:
        raise InputError(f"Expected a text a line in {path}. Received: none")
    return texts


def tokens_of(
    texts: Sequence[str], vocabulary: Mapping[int, str], steps: int | None = None
) -> np.ndarray:
    """Return the tokens of texts, padded with 0 at their ends.

    A word is looked up as it is, then in small letters, then without punctuation. What is not
    found has the token of "[UNK]", where the vocabulary has that.

    Args:
        texts: words with white space between them.
        vocabulary: words by tokens.
        steps: of the result; None: of the longest text.

    Returns:
        int32 (texts, steps).

    Raises:
        InputError: for a word that the vocabulary lacks, or a longer text.
    """
    known = {word: token for token, word in vocabulary.items()}
    unknown = next((known[word] for word in _UNKNOWN if word in known), None)
    rows = [[_token(word, known, unknown) for word in text.split()] for text in texts]
    rows = [[token for token in row if token is not None] for row in rows]
    longest = max(len(row) for row in rows)
    if steps is not None and longest > steps:
        raise InputError(f"Expected texts of at most {steps} words. Received: one of {longest}")
    tokens = np.zeros((len(rows), steps or longest), np.int32)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = row
    return tokens


def _token(word: str, known: Mapping[str, int], unknown: int | None) -> int | None:
    for form in (word, word.lower(), bare := word.lower().translate(_PUNCTUATION)):
        if form and form in known:
            return known[form]
    if not bare:  # nothing but punctuation
        return None
    if unknown is None:
        raise InputError(
            f"Expected words of the vocabulary, which has no {_UNKNOWN[0]}. Received: {word!r}"
        )
    return unknown


def _content(path: Path) -> list[str] | dict[str, Any]:
    content = _text(path)
    if path.suffix != ".json":
        lines = content.removesuffix("\n").split("\n")  # the first is empty where padding has a 0
        return [line.removesuffix("\r") for line in lines] if content.strip() else _none(path)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DataError(f"Expected JSON in {path}. Received: {error}") from error
    if isinstance(found, dict) and found:
        return found
    if isinstance(found, list) and found:
        return [str(word) for word in found]
    return _none(path)


def _none(path: Path) -> list[str]:
    raise InputError(f"Expected words in {path}, a line each or as JSON. Received: none")


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"Expected a file of words. Received: {path}, no such file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"Expected a readable text file. Received: {path}: {error}") from error
