"""Run checks on a method and a model."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfrnnx.checks import whole_number
from tfrnnx.errors import ConfigError, InputError, NotFiniteError, TfrnnxWarning
from tfrnnx.explaining.arrays import Inputs
from tfrnnx.explaining.default import AUTO, default_method
from tfrnnx.explaining.targets import AnyTarget
from tfrnnx.propagation.methods import Method, get_method
from tfrnnx.sanity.outcomes import Outcome
from tfrnnx.sanity.registry import NotApplicable
from tfrnnx.sanity.registry import checks as known
from tfrnnx.sanity.report import Report
from tfrnnx.sanity.subject import Subject


def check(
    model: keras.Model,
    x: Inputs,
    method: str | Method = AUTO,
    target: AnyTarget = None,
    *,
    checks: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    mask: Inputs | None = None,
    baseline: Any = None,
    seed: int = 0,
    batch_size: int = 256,
    **parameters: Any,
) -> Report:
    """Check whether explanations of a model by a method can be trusted.

    The model is what it was afterwards, bit by bit, however the call ends. Checks that change
    weights do so on a clone of it; where Keras cannot clone a model, such as a subclassed one
    without a configuration, on the model itself, whose weights are restored at the end, also of an
    interrupted call (the report says which). In that case nobody else should use it meanwhile.

    Args:
        model: as for `tfrnnx.explain`.
        x: samples, as for `tfrnnx.explain`, but no ragged ones; a dozen or some dozens.
        method: the name of a method, or a `Method`; "auto": the one that fits the model.
        target: what is explained, as for `tfrnnx.explain`, but not "all". What is predicted at x is
            held while x or weights change.
        checks: names of registered checks; None: all of them.
        options: of the checks, by their names, such as {"deletion": {"steps": 50}}.
        mask: of the steps to read.
        baseline: what values become that are erased: a number, an array that broadcasts to x, or a
            list with one for each input. None: the least value of a method with a box, else 0.
        seed: of all that is drawn: the same call gives the same numbers.
        batch_size: how many samples are explained at once.
        **parameters: of the method.

    Returns:
        A report with an outcome for each check: a verdict, a number, a chart.

    Raises:
        UnknownNameError: for an unknown method or check.
        ConfigError: for an option that a check does not take.
        InputError, UnsupportedLayerError, MismatchError, NotFiniteError: as `tfrnnx.explain`.

    Example:
        >>> report = tfrnnx.sanity.check(model, x, "lrp_epsilon", checks=["deletion", "padding"])
        >>> print(report.table())
    """
    names = list(dict.fromkeys(known.names() if checks is None else checks))
    if not names or isinstance(checks, str):
        raise ConfigError(
            f"Expected checks to be some of {', '.join(known.names())}. Received: {checks!r}"
        )
    chosen = {name: known[name] for name in names}
    given = {name: dict((options or {}).get(name, {})) for name in names}
    _check_options(options or {}, chosen)
    named = default_method(model) if isinstance(method, str) and method == AUTO else method
    subject = Subject(
        model,
        get_method(named, **parameters),
        x,
        target,
        mask=mask,
        parameters=parameters if isinstance(named, str) else None,
        baseline=baseline,
        seed=whole_number("seed", seed, minimum=0),
        batch_size=whole_number("batch_size", batch_size, minimum=1),
    )
    outcomes = {name: _run(chosen[name], subject, given[name]) for name in names}
    return Report(
        outcomes,
        subject.method.name,
        {name: str(value) for name, value in parameters.items()},
        str(model.name),
        subject.samples,
        seed,
        subject.worked_on,
    )


def _run(function: Any, subject: Subject, options: dict[str, Any]) -> Outcome:
    try:
        with warnings.catch_warnings():  # what is to be said was said of the samples themselves
            warnings.simplefilter("ignore", TfrnnxWarning)
            return function(subject, **options)
    except NotApplicable as reason:
        return Outcome.inapplicable(str(reason))
    except (InputError, NotFiniteError) as error:
        # What a check made of x or of the weights cannot be explained; x and the model can.
        return Outcome.inapplicable(f"what the check makes cannot be explained: {error}")


def _check_options(options: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]) -> None:
    for name, each in options.items():
        if name not in chosen:
            raise ConfigError(
                f"Expected options of {', '.join(chosen)}. Received: options of {name!r}"
            )
        taken = [
            p.name
            for p in inspect.signature(chosen[name]).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        ]
        unknown = [option for option in each if option not in taken]
        if unknown:
            raise ConfigError(
                f"Check {name!r} takes {', '.join(taken) or 'no options'}. Received: "
                f"{', '.join(unknown)}"
            )
