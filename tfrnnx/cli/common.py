"""What the programs have in common."""

import inspect
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import app, flags, logging

from tfrnnx import plugins
from tfrnnx.errors import ConfigError, InputError, TfrnnxError, TfrnnxWarning
from tfrnnx.explaining.default import AUTO, default_method
from tfrnnx.propagation.methods import methods
from tfrnnx.storage.engines import Engine, engines, get_engine

_BOX = ("low", "high")
_OF_ENGINES = ("jobs", "address")
_PLUGIN = (
    "A Python file, or a module that can be imported, which registers architectures, data sets, "
    "methods and so on of your own; may be given several times."
)


def start(
    program: Callable[[], int | None],
    doc: str,
    define_flags: Callable[[], None],
    interrupted: str = "interrupted",
) -> None:
    """Define a program's flags, parse the command line and run the program.

    A mistake of the user's is one line on standard error and exit code 1, an interruption exit
    code 130; anything else keeps its traceback.

    Plugins are loaded first, so that what they register is among the choices of the flags.

    Args:
        program: what to do once the flags are parsed; returns the exit code, or None for 0.
        doc: what `--help` says above the flags.
        define_flags: defines the program's flags.
        interrupted: what to say on Ctrl-C.
    """
    known = set(flags.FLAGS)
    flags.DEFINE_multi_string("plugin", [], _PLUGIN)
    _load_plugins(interrupted)
    define_flags()
    for name in sorted(set(flags.FLAGS) - known):
        # `--help` shows the key flags of the script that was started, which may be a wrapper.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = doc

    def main(argv: Sequence[str]) -> int:
        if not flags.FLAGS["verbosity"].present:
            # Saving a model would print a page of INFO; --verbosity=0 brings it back.
            logging.set_verbosity(logging.WARNING)
            tf.get_logger().setLevel("WARNING")
        warnings.showwarning = _show_warning
        _share_gpus()
        try:
            if len(argv) > 1:
                raise flags.Error(f"Expected flags only. Received: {' '.join(argv[1:])}")
            return program() or 0
        except (Exception, KeyboardInterrupt) as error:
            if received or isinstance(error, KeyboardInterrupt):
                print(interrupted, file=sys.stderr)
                return 130
            if isinstance(error, TfrnnxError | flags.Error):
                return _tell(error)
            raise

    received = _interrupts()
    app.run(main, flags_parser=_parse)


def _load_plugins(interrupted: str) -> None:
    """Load the plugins that are installed, and those that the command line names."""
    try:
        own = flags.FlagValues()
        flags.DEFINE_multi_string("plugin", [], _PLUGIN, flag_values=own)
        own.set_gnu_getopt()  # what follows an unknown flag may be its value
        own(sys.argv, known_only=True)
        if own.plugin:
            _share_gpus()  # before a plugin's first computation
        plugins.load_installed()
        for where in own.plugin:
            plugins.load(where)
    except (TfrnnxError, flags.Error) as error:
        sys.exit(_tell(error))
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)


def _share_gpus() -> None:
    for gpu in tf.config.list_physical_devices("GPU"):
        # Else TensorFlow takes all of its memory, and another program finds none.
        tf.config.experimental.set_memory_growth(gpu, True)


def _interrupts() -> list[int]:
    """Return a list that grows with every Ctrl-C.

    A KeyboardInterrupt while TensorFlow traces a function was seen to come out as AssertionError
    and as SystemError.
    """
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, interrupt)
    return received


def _parse(argv: Sequence[str]) -> Sequence[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:  # absl would tell it in two lines
        sys.exit(_tell(error))


def _show_warning(message: Warning | str, category: type[Warning], *args: Any) -> None:
    """Print what a user should know as one line; other warnings as Python does."""
    if issubclass(category, TfrnnxWarning):
        print(f"note: {message}", file=sys.stderr)
    else:
        _python_warning(message, category, *args)


_python_warning = warnings.showwarning


def _tell(error: Exception) -> int:
    """Print a mistake as one line; return the exit code."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    return 1


# What the programs call parameters of the library otherwise than it does.
_FLAG_OF = {"folder": "out"}


def one_line(error: Exception) -> str:
    """Return what an error says, and which of the program's flags mend it."""
    remedies = error.remedies if isinstance(error, TfrnnxError) else ()
    names = [_FLAG_OF.get(name, name) for name in remedies]
    known = ", ".join(f"--{name}" for name in names if name in flags.FLAGS)
    return f"{' '.join(str(error).split())}{f' ({known})' if known else ''}"


def integers(name: str, values: Sequence[str] | None) -> list[int] | None:
    """Return the integers of a list flag, or None where it was not given.

    Raises:
        InputError: naming the flag and what was received.
    """
    try:
        return None if values is None else [int(value) for value in values]
    except ValueError:
        raise InputError(
            f"Expected --{name} to be integers, comma-separated. Received: {','.join(values or [])}"
        ) from None


def define_engine_flags() -> None:
    """Define the flags that choose where independent tasks run."""
    flags.DEFINE_enum(
        "engine", "local", engines.names(), "Where tasks run: on this machine, or on a Ray cluster."
    )
    flags.DEFINE_string(
        "address",
        None,
        "Of the Ray cluster: auto (this machine's), host:port or ray://host:port; default: Ray is "
        "started on this machine.",
    )
    flags.DEFINE_integer(
        "jobs", 1, "Tasks at once of --engine=local, in processes that share the cores."
    )


def chosen_engine() -> Engine:
    """Return the engine that the flags choose.

    Raises:
        ConfigError, EngineError: as `get_engine`.
    """
    chosen = [name for name in _OF_ENGINES if flags.FLAGS[name].value != flags.FLAGS[name].default]
    parameters: dict[str, Any] = {name: flags.FLAGS[name].value for name in chosen}
    return get_engine(flags.FLAGS.engine, **parameters)


def define_method_flags(name: str, default: Sequence[str]) -> None:
    """Define the flag that chooses methods, and those of their parameters.

    Args:
        name: of the flag.
        default: names of methods.
    """
    flags.DEFINE_list(
        name,
        list(default),
        f"Some of {', '.join(methods.names())}, or {AUTO}: dtd for networks that were designed for "
        "it, else lrp_epsilon; comma-separated.",
    )
    flags.DEFINE_float("low", -1.0, "The least value that x can take, for methods with a box.")
    flags.DEFINE_float("high", 1.0, "The greatest value that x can take, for methods with a box.")
    flags.DEFINE_list(
        "parameters",
        [],
        "Other parameters, such as epsilon=0.01,gates=half, for the methods that take them.",
    )


def method_parameters(
    names: Sequence[str],
    model: Callable[[], keras.Model],
    box: tuple[float, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return for every chosen method the parameters that the flags give it.

    Args:
        names: of methods, or "auto".
        model: loads what is explained, which "auto" is chosen for.
        box: what is low and high where the flags do not say so; None: the methods' defaults.

    Raises:
        InputError: if none is chosen.
        UnknownNameError: for an unknown method.
        ConfigError: for a parameter that no chosen method takes, or no name=value.
    """
    if not names:
        raise InputError(f"Expected some of {', '.join(methods.names())}. Received: none")
    given = {name: flags.FLAGS[name].value for name in _BOX if flags.FLAGS[name].present}
    given |= dict(_parameter(text) for text in flags.FLAGS.parameters)
    parameters: dict[str, dict[str, Any]] = {}
    for method in [default_method(model()) if name == AUTO else name for name in names]:
        known = inspect.signature(methods[method]).parameters
        bounds = {} if box is None else dict(zip(_BOX, box, strict=True))
        parameters[method] = {n: value for n, value in (bounds | given).items() if n in known}
    for name in given:
        if not any(name in taken for taken in parameters.values()):
            flag = f"--{name}" if name in _BOX else f"--parameters={name}"
            raise ConfigError(
                f"Expected a method that takes {name} beside {flag}. Received: {', '.join(names)}"
            )
    return parameters


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"Expected --parameters to be name=value. Received: {text!r}")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)
