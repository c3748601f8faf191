"""Which methods the checks run: every registered one, or one of each family."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfrnnx.propagation.methods import ATTENTION, BIASES, GATES, Method, methods
from tfrnnx.testing import cases, running


def example(name: str, xs: Sequence[np.ndarray] = (np.zeros((1, 1)),)) -> Method | None:
    """Return a method with parameters of its case, or its defaults; None where it has neither."""
    if name in cases.PARAMETERS:
        return running.method_of(name, **cases.PARAMETERS[name](xs))
    parameters = inspect.signature(methods[name]).parameters.values()
    if any(p.default is p.empty for p in parameters):
        return None
    return running.method_of(name)


def examples(xs: Sequence[np.ndarray] = (np.zeros((1, 1)),)) -> dict[str, Method]:
    """Return every registered method that `example` knows, by its name."""
    made = {name: example(name, xs) for name in methods}
    return {name: method for name, method in made.items() if method is not None}


def variants(name: str, parameters: Mapping[str, Any]) -> Iterator[Method]:
    """Yield a method with these parameters, and with the others of those that have several."""
    yield running.method_of(name, **parameters)
    taken = {
        parameter: (*values[1:], *values)[:2]
        for parameter, values in (("bias", BIASES), ("gates", GATES), ("attention", ATTENTION))
        if running.takes(name, parameter) and parameter not in parameters
    }
    for values in zip(*taken.values(), strict=True):  # two values of each, at once
        yield running.method_of(name, **parameters, **dict(zip(taken, values, strict=True)))


def of_relevance(thorough: bool, every: bool = True) -> Iterator[Method]:
    """Yield methods of relevance, with biases and gates in turn, or in all ways.

    Every registered one, or the first of each family.
    """
    first = first_of_families().values()
    names = [n for n, m in examples().items() if m.propagates_relevance and (every or n in first)]
    for turn, name in enumerate(names):
        ways = list(variants(name, cases.PARAMETERS.get(name, lambda xs: {})([])))
        yield from ways if thorough else [ways[turn % len(ways)]]


def first_of_families() -> dict[str, str]:
    """Return the name of the first registered method of each family."""
    first: dict[str, str] = {}
    for name, method in examples().items():
        first.setdefault(running.family(method), name)
    return first


def one_of_families() -> list[Method]:
    """Return the first registered method of each family."""
    made = examples()
    return [made[name] for name in first_of_families().values()]
