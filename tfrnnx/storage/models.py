"""Models on disk."""

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from tfrnnx import plugins
from tfrnnx.errors import ModelFileError, TfrnnxError


def model_file(path: str | Path) -> Path:
    """Return the `.keras` file, there or not, that a path for `load_model` stands for."""
    path = Path(path)
    return path / "model.keras" if path.is_dir() else path


def load_model(path: str | Path, compile: bool = False) -> keras.Model:
    """Load a `.keras` file, or the `model.keras` of a folder that training wrote; or an `.h5` file.

    No module is imported because the file names it: the plugins that it needs are loaded before, by
    `tfrnnx.load_plugin`. Where one has changed since, the model is loaded with a warning.

    Args:
        path: of the file or the folder.
        compile: restore the optimizer and the loss too.

    Returns:
        The model, with its layers of tfrnnx.

    Raises:
        ModelFileError: for a file that is missing, truncated or not a Keras model, or has a class
            that is not known, naming it.
        ConfigError: for a plugin that is not loaded, naming its file.

    Examples:
        >>> tfrnnx.build("shallow").save("model.keras")
        >>> tfrnnx.load_model("model.keras").count_params()
        184330
    """
    path = model_file(path)
    expected = "Expected a Keras model, a .keras or .h5 file or a folder of a training run."
    try:
        if not path.is_file():
            raise ModelFileError(f"{expected} Received: {path}, which does not exist")
        if h5py.is_hdf5(path):
            config = _config_in_h5(path, expected)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
                if damaged is not None:
                    raise ModelFileError(f"{expected} Received: {path}, damaged at {damaged}")
                config = json.loads(archive.read("config.json"))
        else:
            raise ModelFileError(
                f"{expected} Received: {path}, which is truncated or of another kind"
            )
        plugins.tell_changes(_recorded(path), str(path))
        if not compile:
            config.pop("compile_config", None)  # as Keras does
        _check_known(config, path)
        _check_no_code(config, path)
        return keras.saving.load_model(path, compile=compile)
    except TfrnnxError:
        raise
    except Exception as error:  # Keras raises many kinds for what it cannot read
        raise ModelFileError(
            f"{expected} Received: {path}, not loadable: {_reason(error)}"
        ) from error


def _config_in_h5(path: Path, expected: str) -> Any:
    """Return the configuration of a model in Keras's older format.

    Raises:
        ModelFileError: for a file of weights alone, or with another ending.
    """
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ModelFileError(
                f"{expected} Received: {path}, which has weights alone; build the model in Python, "
                "model.load_weights(...), and model.save(....keras)"
            )
        if path.suffix not in (".h5", ".hdf5"):
            raise ModelFileError(f"{expected} Received: {path}, HDF5 by content; name it .h5")
        config = file.attrs["model_config"]
        return json.loads(config.decode() if isinstance(config, bytes) else str(config))


def _check_no_code(config: Any, path: Path) -> None:
    """Check that there is no function of Python's own code in a file, which loading would run."""
    if isinstance(config, list):
        for part in config:
            _check_no_code(part, path)
    if not isinstance(config, dict):
        return
    if config.get("class_name") == "__lambda__" or config.get("function_type") == "lambda":
        raise ModelFileError(
            f"Expected a model without code in its file. Received: {path}, with a lambda; name the "
            "function, register it with keras.saving.register_keras_serializable, and save anew"
        )
    for part in config.values():
        _check_no_code(part, path)


def _recorded(path: Path) -> dict[str, str]:
    """Return the plugins that the configuration beside a model names, if there is one."""
    try:
        config = json.loads(path.with_name("config.json").read_text("utf-8"))
        return {str(file): str(digest) for file, digest in config["plugins"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _check_known(config: Any, path: Path) -> None:
    """Check that Keras knows all classes and functions of a model, so that it imports none."""
    unknown = list(dict.fromkeys(_unknown(config)))
    if not unknown:
        return
    _, _, module = unknown[0]
    if module in sys.modules:
        advice = f"{module} is imported; keras.saving.register_keras_serializable registers them"
    else:
        where = module if "." in module else f"{module}.py"
        advice = f'tfrnnx.load_plugin("{where}") loads that module'
    named = ", ".join(f"{kind} {name} of module {module}" for kind, name, module in unknown)
    raise ModelFileError(
        f"Expected all classes of {path} to be known to Keras. Received: {named}; {advice}"
    ).mended_by("plugin")


def _unknown(config: Any) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and module of what is neither registered with Keras nor its own.

    What is not registered, Keras looks for in the module that the file names. Newer ones import
    none but those of a few packages, older ones any.
    """
    if isinstance(config, list):
        for part in config:
            yield from _unknown(part)
    if not isinstance(config, dict):
        return
    if "class_name" in config and "config" in config:
        kind, name = "class", config["class_name"]
        registered = config.get("registered_name", name)
        if name == "function":
            kind, name = "function", config["config"]
            registered = name
        elif name == "__typespec__":
            name = config.get("spec_name")
        module = config.get("module")
        its_own = not module or re.match(r"(keras|builtins)(\.|$)", str(module))
        if not its_own and not _registered(registered):
            yield kind, str(name), str(module)
    for part in config.values():
        yield from _unknown(part)


def _registered(name: Any) -> bool:
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _reason(error: Exception) -> str:
    """Return the innermost reason that Keras gives, in one line."""
    text = str(error).split("Exception encountered: ")[-1].split("Full object config")[0]
    return next(iter(text.strip().splitlines()), type(error).__name__)
