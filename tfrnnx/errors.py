"""Exceptions for mistakes that a user can mend.

Every message names what was expected, what was received and what to do next. Each class also
derives from the built-in exception that Python users would catch for the same mistake. The
command line prints these as one line; anything else is a defect of the package and keeps its
traceback.
"""

import sys
import warnings
from typing import Self


class TfrnnxError(Exception):
    """Base class of all exceptions that tfrnnx raises on purpose.

    Attributes:
        remedies: names of parameters that mend it with another value, such as "overwrite"; the
            programs say which flags these are.
    """

    remedies: tuple[str, ...] = ()

    # An exception that passes through a user's `tf.function` is made anew by AutoGraph: of its own
    # class if that has the plain constructor, else of AutoGraph's.
    __init__ = Exception.__init__

    def mended_by(self, *remedies: str) -> Self:
        """Return this exception, with its remedies."""
        self.remedies = remedies
        return self

    def within(self, place: str) -> Self:
        """Return the same exception with the name of what it happened in before its message."""
        return type(self)(f"{place}: {self}").mended_by(*self.remedies)


class UnknownNameError(TfrnnxError, ValueError):
    """A name that no registry knows: an architecture, a method, a data set."""


class RegistrationError(TfrnnxError, ValueError):
    """Something registered under a name that is taken, or that is none."""


class PluginError(TfrnnxError, ImportError):
    """A plugin that cannot be loaded: no such file, a mistake inside, a name that is taken."""


class ConfigError(TfrnnxError, ValueError):
    """A parameter outside its range, or a configuration that contradicts what is on disk."""


class BackendError(TfrnnxError, ImportError):
    """Keras with another backend than TensorFlow."""


class InputError(TfrnnxError, ValueError):
    """An input or target that cannot be explained: shape, dtype, NaN, outside the box."""


class UnsupportedLayerError(TfrnnxError, NotImplementedError):
    """A layer without explanation rules. Never a silent plain gradient."""


class MismatchError(TfrnnxError, RuntimeError):
    """What would be explained is another function than the model computes."""


class NotFiniteError(TfrnnxError, FloatingPointError):
    """NaN or Inf in weights, outputs or relevance."""


class ModelFileError(TfrnnxError, OSError):
    """A model file that is missing, truncated or not a Keras model."""


class PackageError(TfrnnxError, ImportError):
    """A package that is optional and not installed."""


class DataError(TfrnnxError, OSError):
    """A data set that is missing, corrupt or not obtainable."""


class OutputError(TfrnnxError, OSError):
    """An output folder that cannot be written."""

    remedies = ("folder",)


class StudyError(TfrnnxError, RuntimeError):
    """A study that cannot go on: results that are not there yet."""


class EngineError(TfrnnxError, RuntimeError):
    """An engine that cannot work: Ray is missing or silent, or a process was killed."""


class TfrnnxWarning(UserWarning):
    """Base class of all warnings that tfrnnx gives."""


class NegativeInputWarning(TfrnnxWarning):
    """A rule that assumes activations >= 0 meets a layer whose input can be negative."""


class LogitWarning(TfrnnxWarning):
    """What is explained is the logit before a final softmax or sigmoid; or the output as it is."""


class AbsorbedWarning(TfrnnxWarning):
    """Less than half of the score arrives at the input: biases and stabilizers take the rest."""


class PluginWarning(TfrnnxWarning):
    """A plugin is not the same any more that a model was made with."""


class UnstableWarning(TfrnnxWarning):
    """Relevance grows without bound, or can: its absolute values exceed what it started with."""


def tell(message: str, category: type[TfrnnxWarning]) -> None:
    """Warn at the line, outside of this package, that led here."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 2
    # By the module, for the constructors of dataclasses are in no file.
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
