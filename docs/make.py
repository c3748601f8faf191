"""Make pages of docs/: layers.md, methods.md, programs.md, from what the package knows.

The table of layers runs every supported layer with every method, behind a layer whose output can
have either sign, and notes which primitives it is made of and where a method warns.

Example:
  python docs/make.py
"""

import inspect
import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from flag_pages import BIN, programs_page

import tfrnnx
from tfrnnx import primitives
from tfrnnx.explaining.backward import forward
from tfrnnx.explaining.inputs import token_inputs
from tfrnnx.explaining.question import Question
from tfrnnx.explaining.targets import Classes, Form
from tfrnnx.handlers import functional, supported_layers, supported_operations
from tfrnnx.primitives.scope import scope
from tfrnnx.propagation.methods import Method, rules
from tfrnnx.testing import cases
from tfrnnx.testing.cases import Case
from tfrnnx.testing.subjects import applied

FOLDER = Path(__file__).resolve().parent
_numbers = itertools.count()

# What the table calls the primitives that a layer is made of.
OPERATIONS = {
    "conv2d": "convolution",
    "linear_map": "convolution",  # or "dense", as its argument says
    "dense": "linear map",
    "contribution": "linear map",
    "affine": "scale and offset",
    "normalize": "normalisation",
    "bilinear": "product of tensors",
    "weighted_sum": "average",
    "add": "sum",
    "product": "product",
    "gate": "gates",
    "gated": "gates",
    "relu": "ReLU",
    "activate": "activation",
}


def before(units: int) -> keras.layers.Layer:
    """Return a layer that goes before the one that is looked at: its output has either sign."""
    return keras.layers.Dense(units, name=f"before_{next(_numbers)}")


class Row(NamedTuple):
    """What is found out of a layer.

    Attributes:
        name: of the layer.
        used: the names of its primitives; "looked through" of a softmax.
        warns: names of the methods that warn.
    """

    name: str
    used: frozenset[str]
    warns: frozenset[str]


def example_methods(x: np.ndarray) -> dict[str, Method]:
    """Return every method, with its defaults where it has them, and of few points."""
    parameters = {name: cases.PARAMETERS.get(name, lambda xs: {})([x]) for name in tfrnnx.methods}
    return {name: tfrnnx.methods[name](**given) for name, given in parameters.items()}


@contextmanager
def watched() -> Iterator[set[str]]:
    """Note the primitives that are used outside of the layers before the one looked at."""
    used: set[str] = set()

    def noting(name: str, function: Callable) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            active = scope()
            if active is not None and not active.layer.startswith("before"):
                used.add(name if kwargs.get("convolution", True) else "dense")
            return function(*args, **kwargs)

        return run

    plain = {name: getattr(primitives, name) for name in OPERATIONS}
    for name, function in plain.items():
        setattr(primitives, name, noting(name, function))
    try:
        yield used
    finally:
        for name, function in plain.items():
            setattr(primitives, name, function)


def look_at(name: str, case: Case) -> Row:
    """Run a layer with every method and return what is found out."""
    call = case.make()
    rng = np.random.default_rng(0)
    if case.vocabulary is None:
        x = keras.Input(case.shape)
        read = [before(case.shape[-1])(x) for _ in range(max(1, case.inputs))]
        model = keras.Model(x, applied(call, read, case.inputs, case.apart))
        value = tf.constant(rng.uniform(-1, 1, (1, *case.shape)), tf.float32)
    else:
        x = keras.Input(case.shape, dtype="int32")
        model = keras.Model(x, call(x))
        value = tf.ones((1, *case.shape), tf.int32)
    graph = functional(model)
    form, nobody = Form(score=_sum), Classes(tf.constant([-1]))
    question = Question(form, nobody, [value], [None], token_inputs(graph))
    warns = set()
    with watched() as used:
        for method_name, method in example_methods(value.numpy()).items():
            record = forward(graph, method, question).record
            used.update(["looked through"] if any(record.finals) else [])
            if any(not path.startswith("before") for path in record.negative_inputs):
                warns.add(method_name)
    return Row(name, frozenset(used), frozenset(warns))


def _sum(outputs: Any) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(x, range(1, x.shape.rank)) for x in keras.tree.flatten(outputs)])


def made_of(row: Row) -> str:
    """Return what a layer is made of, in words."""
    parts = dict.fromkeys(word for name, word in OPERATIONS.items() if name in row.used)
    if parts:
        return ", ".join(parts)
    if "looked through" in row.used:
        return "looked through at the end"
    if row.name == "Embedding":
        return "sum over the features"
    wins = ("MaxPooling", "Maximum", "Minimum", "keras.ops.max")
    return "winner" if any(name in row.name for name in wins) else "moved values"


def cell(row: Row, method: Method) -> str:
    """Return what a layer does with what arrives under a method."""
    rules = method.rules
    if rules is None:
        return method.relu if "relu" in row.used else "gradient"
    terms = rules.dense.terms
    if {"conv2d", "linear_map"} & row.used:
        return rules.convolution.name
    if "contribution" in row.used:
        return rules.recurrent.name
    if "dense" in row.used:
        return rules.dense.name
    if {"affine", "normalize"} & row.used:
        passes = method.bias == "distribute" or not terms.counts_values
        return "passes" if passes else "in proportion"
    if {"weighted_sum", "add", "bilinear"} & row.used:
        return "in proportion" if terms.counts_values else "evenly"
    if "product" in row.used:
        return "evenly"
    return "passes"


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def examples() -> dict[str, Case]:
    """Return the plainest case of every layer and cell, and of each kind of operations."""
    known = cases.LAYERS | {name: [of_cell(makes[0])] for name, makes in cases.CELLS.items()}
    names = [name for name in supported_layers(keras_alone=True) if "tfrnnx" not in name]
    own = cases.OWN_LAYERS | {n: [of_cell(makes[0])] for n, makes in cases.OWN_CELLS.items()}
    return (
        {name: known[name][0] for name in names}
        | {f"keras.ops.{name}": made[0] for name, made in cases.OPERATIONS.items()}
        | {f"tfrnnx.layers.{name}": made[0] for name, made in sorted(own.items())}
    )


def of_cell(make: Callable) -> Case:
    """Return the case of a cell: a layer that runs it."""
    return Case(lambda: keras.layers.RNN(make()), cases.FEW_STEPS)


def layers_page() -> str:
    """Return the page on layers.

    Raises:
        KeyError: for a supported layer without a case.
    """
    rows = [look_at(name, case) for name, case in examples().items()]
    methods = example_methods(np.zeros((1, 1)))
    columns: dict[tuple[str, ...], list[str]] = {}
    for name, method in methods.items():
        of_input = ["gradient"] * 2
        if method.rules is not None:
            rules = method.rules
            of_input = [
                rules.input.name if rules.input else "as others",
                rules.embedding.name if rules.embedding else "as others",
            ]
        columns.setdefault((*of_input, *(cell(row, method) for row in rows)), []).append(name)
    heads = ["layer", "made of", *("<br>".join(names) for names in columns.values())]
    first = [["*maps that read the input*", ""], ["*maps that read embeddings*", ""]]
    names_of_rows = [*first, *([f"`{row.name}`", made_of(row)] for row in rows)]
    cells = zip(*columns, strict=True)
    body = [[*start, *values] for start, values in zip(names_of_rows, cells, strict=True)]
    warning: dict[frozenset[str], list[str]] = {}
    for name in methods:
        warned = frozenset(row.name for row in rows if name in row.warns)
        if warned:
            warning.setdefault(warned, []).append(name)
    warnings = "\n".join(
        f"- {_listed(names)}: {_listed(sorted(warned))}" for warned, names in warning.items()
    )
    return LAYERS.format(
        table=table([heads, *body]), warnings=warnings, operations=_listed(supported_operations())
    )


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


LAYERS = """# Layers and methods

*Made by `python docs/make.py` from the registries; a test holds it up to date.*

Every layer was run with every method. What the entries mean:

- `epsilon`, `gamma`, `alpha_beta`, `z_plus`, `w_square`, `flat`, `z_box`: the rule of the layer's
  linear maps, see [methods](methods.md). A map that reads the model's input, or embeddings of
  tokens, follows the first two rows instead.
- in proportion: R_i = x_i w_i / (Σ_j x_j w_j + ε sign) R, the weights being constants; evenly: each
  gets the same.
- passes: relevance goes through as it is, to where the value came from. A maximum hands it to the
  winner, a layer that moves values to where they were.
- gradient: the ordinary gradient, guided and deconvnet as the method has it.

Inside of recurrent layers, sums are split in proportion (evenly under `w_square` and `flat`),
activations pass, and gates get what [`gates`](guide.md#gates) says.

Operations of `keras.ops` stand in the table by kind. With a constant (a number, an array, a
weight) a sum or a product is a scale and an offset; a denominator is read as a constant; the
greater and the smaller of two, and of several, take all. These can be explained, by the names of
Keras's classes: {operations}.

{table}

Where the input of a layer can be negative, as in this table, these warn (`NegativeInputWarning`):

{warnings}

With `gates="prop"` every method that has it warns (`UnstableWarning`), and a softmax or sigmoid at
a model's end is looked through, with a `LogitWarning`. Other layers are refused by name; how to
teach tfrnnx a layer stands in [extending](extending.md).
"""


def section(name: str, factory: Callable, level: str = "##") -> str:
    """Return a heading and what a docstring says, in Markdown."""
    signature = str(inspect.signature(factory))
    signature = re.sub(r" -> .*$|: [\w .|]+(?=[ ,)=])", "", signature)
    signature = re.sub(r"\s*=\s*", "=", signature)
    lines = [f"{level} {name}", "", f"`{name}{signature}`", ""]
    heading = ""
    for line in (inspect.getdoc(factory) or "").splitlines():
        if line in ("Args:", "Raises:"):
            heading = line
        elif heading and line.startswith("    "):
            text = line[4:]
            if heading == "Args:":
                # A parameter at the margin, what goes on in a second line further in.
                bullet = re.sub(r"^(\w+):", r"- `\1`:", text) if text[0] != " " else text[2:]
                lines.append(bullet if bullet.startswith("- ") else f"  {bullet}")
        else:
            heading = "" if line else heading
            lines.append(line)
    return "\n".join(lines).strip()


def methods_page() -> str:
    """Return the page on methods and rules."""
    methods = "\n\n".join(section(name, tfrnnx.methods[name]) for name in tfrnnx.methods)
    of_rules = "\n\n".join(section(name, rules[name], "###") for name in rules)
    text = METHODS.format(methods=methods, rules=of_rules)
    return re.sub(r"\n{3,}", "\n\n", text)


METHODS = """# Methods

*Made by `python docs/make.py` from the docstrings; a test holds it up to date.*

`tfrnnx.explain(model, x, method="lrp_epsilon", epsilon=0.01)`: a method by its name, with its
parameters; or as an object, `method=tfrnnx.methods["lrp_epsilon"](epsilon=0.01)`. What `bias` and
`gates` do stands in the [guide](guide.md), which rule each layer follows in [layers](layers.md).

{methods}

## Rules

What a linear map z_k = Σ_j x_j w_jk + b_k hands down. `composite` takes these names, or the rules
themselves with parameters, `tfrnnx.rules.gamma(0.5)`.

{rules}
"""


def help_of(program: str) -> str:
    """Return what a program's `--help` prints."""
    command = [sys.executable, str(BIN / program), "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


PAGES = {"layers.md": layers_page, "methods.md": methods_page}
PAGES["programs.md"] = lambda: programs_page(help_of)


if __name__ == "__main__":
    for file_name, page in PAGES.items():
        (FOLDER / file_name).write_text(page())
