"""Where independent tasks run: the protocol of engines, and that of this machine."""

import inspect
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import cloudpickle
import numpy as np
import tensorflow as tf

from tfrnnx import plugins
from tfrnnx.checks import whole_number
from tfrnnx.errors import ConfigError, EngineError, TfrnnxError, TfrnnxWarning
from tfrnnx.registry import Registry

Packed = tuple[bytes, list[np.ndarray]]
Task = TypeVar("Task")
Shared = TypeVar("Shared")
Result = TypeVar("Result")


class Engine(Protocol):
    """Where tasks run: what every engine can do, and what its callers must know of it.

    Wherever a task runs, the plugins of this process are loaded before the task is unpickled.
    """

    @property
    def shares_files(self) -> bool:
        """Whether paths mean the same files to tasks as to this process."""
        ...

    def runs_here(self, tasks: int) -> bool:
        """Return whether so many tasks run in this process, one after the other."""
        ...

    def check(self) -> None:
        """Check the engine's parameters, and that it can work.

        Raises:
            ConfigError: naming the parameter that does not fit.
            EngineError: if what it needs is not installed, or does not answer.
        """
        ...

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        *,
        threads: int | None = None,
        keep_going: bool = False,
    ) -> Iterator[tuple[Task, Result | TfrnnxError]]:
        """Yield every task with what `function(shared, task)` returns, as they finish.

        A task may run anew where the process or the machine that had it is lost: it should have no
        effect but its result, or one that may happen twice.

        Args:
            function: of a module, so that other processes find it.
            shared: what all tasks need.
            tasks: small, or a machine's worth of memory.
            threads: of TensorFlow for a task that has a process of its own. None: the engine's
                choice.
            keep_going: yield a `TfrnnxError` of a task in the place of its result. Else it is
                raised, and the other tasks are ended.

        Raises:
            ConfigError, EngineError: as `check`.
            EngineError: if the engine does not start, or a process was killed.
            TfrnnxError: of a task, unless `keep_going`.
        """
        ...


engines: Registry[Callable[..., Engine]] = Registry("engine")


def get_engine(name: str = "local", **parameters: int | str) -> Engine:
    """Return an engine, checked.

    Args:
        name: a registered one, such as "local" or "ray".
        **parameters: of the engine: `jobs` of "local", `address` of "ray".

    Raises:
        UnknownNameError: for an unknown engine.
        ConfigError: for a parameter that the engine does not take, or outside its range.
        EngineError: if what it needs is not installed, or does not answer.
    """
    known = inspect.signature(engines[name]).parameters
    for parameter, value in parameters.items():
        if parameter not in known:
            raise ConfigError(
                f"Engine {name!r} takes {', '.join(known) or 'no parameters'}. Received: "
                f"{parameter}={value!r}"
            )
    engine = engines[name](**parameters)
    engine.check()
    return engine


@engines.register("local")
@dataclass(frozen=True)
class LocalEngine:
    """Tasks run in this process, or in processes of this machine.

    Attributes:
        jobs: how many processes work at once; 1 is this process.
    """

    jobs: int = 1
    shares_files = True

    def runs_here(self, tasks: int) -> bool:
        """Return whether one process is enough."""
        return min(self.jobs, tasks) <= 1

    def check(self) -> None:
        """Check the number of jobs.

        Raises:
            ConfigError: if it is none.
        """
        whole_number("jobs", self.jobs, minimum=1)

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        *,
        threads: int | None = None,
        keep_going: bool = False,
    ) -> Iterator[tuple[Task, Result | TfrnnxError]]:
        """As `Engine.run`; a process's threads are its share of this machine's cores by default."""
        self.check()
        if self.runs_here(len(tasks)):
            return ((task, perform(function, shared, task, keep_going)) for task in tasks)
        jobs = min(self.jobs, len(tasks))
        return _in_processes(jobs, function, shared, tasks, threads, keep_going)


def perform(
    function: Callable[[Shared, Task], Result], shared: Shared, task: Task, keep_going: bool
) -> Result | TfrnnxError:
    """Return what a task returns, or its `TfrnnxError` if others are to go on."""
    try:
        return function(shared, task)
    except TfrnnxError as error:
        if not keep_going:
            raise
        return error


def pack(thing: object) -> Packed:
    """Return what is unpickled later than the arguments of a task: once plugins are loaded.

    Arrays stand beside the bytes, so that Ray and joblib can share them among processes.
    """
    buffers: list[pickle.PickleBuffer] = []
    content = cloudpickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    return content, [np.asarray(buffer.raw()) for buffer in buffers]


def unpack(packed: Packed) -> Any:
    """Return what `pack` was given."""
    content, arrays = packed
    return pickle.loads(content, buffers=arrays)


def _in_processes(
    jobs: int,
    function: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
    threads: int | None,
    keep_going: bool,
) -> Iterator[tuple[Task, Result | TfrnnxError]]:
    import joblib  # not at the head: most programs run no processes
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    threads = threads or max(1, joblib.cpu_count() // jobs)
    everywhere = (threads, plugins.loaded(), pack((function, shared)), keep_going)
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
        finished: Any = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs")(
            joblib.delayed(_in_process)(*everywhere, pack(task)) for task in tasks
        )
        try:
            yield from finished
        except TerminatedWorkerError as error:
            raise EngineError(
                "Expected every process to finish its task. Received: one that was killed, perhaps "
                "for want of memory; try again with fewer jobs"
            ).mended_by("jobs") from error


def _in_process(
    threads: int, loaded: list[plugins.Plugin], call: Packed, keep_going: bool, packed: Packed
) -> tuple[Any, Any]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    prepare(threads, loaded)
    function, shared = unpack(call)
    task = unpack(packed)
    return task, perform(function, shared, task, keep_going)


def prepare(threads: int, loaded: list[plugins.Plugin]) -> None:
    """Make a process that was started for tasks ready for them."""
    limit_threads(threads)
    warnings.simplefilter("ignore", TfrnnxWarning)  # each process would tell it anew
    plugins.restore(loaded)


def limit_threads(threads: int) -> None:
    """Have this process's TensorFlow compute with so many threads; at its first use, not later.

    Raises:
        EngineError: if TensorFlow computes with another number already.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise EngineError(
            f"Expected a TensorFlow that has not computed yet, to give it {threads} threads. "
            "Received: one at work, by a plugin perhaps; compute in its functions, not when it is "
            "loaded"
        ) from error
