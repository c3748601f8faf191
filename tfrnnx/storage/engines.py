"""Where independent tasks run: in this process, in processes of this machine, or on Ray."""

import importlib
import inspect
import os
import pickle
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import cloudpickle
import numpy as np
import tensorflow as tf

from tfrnnx import plugins
from tfrnnx.checks import whole_number
from tfrnnx.errors import ConfigError, EngineError, TfrnnxError, TfrnnxWarning
from tfrnnx.registry import Registry

RETRIES = 3  # of a task whose process or node was lost; Ray's count
RAY = "ray>=2.49"  # as pyproject.toml has it
_IN_FLIGHT = 1000  # tasks that Ray knows of: it need not keep all of a million
_ANSWER_SECONDS = 5.0

_Packed = tuple[bytes, list[np.ndarray]]
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
            return ((task, _call(function, shared, task, keep_going)) for task in tasks)
        jobs = min(self.jobs, len(tasks))
        return _in_processes(jobs, function, shared, tasks, threads, keep_going)


@engines.register("ray")
@dataclass(frozen=True)
class RayEngine:
    """Tasks run on the nodes of a Ray cluster, as many at once as it has cores.

    Ray runs a task anew, on any node, where the process or the node that had it is lost.

    Attributes:
        address: of the cluster: "auto" (the one of this machine), "host:port" or
            "ray://host:port"; None starts Ray on this machine, until the tasks have ended.
    """

    address: str | None = None
    shares_files = False

    def runs_here(self, tasks: int) -> bool:
        """Return False: also a single task goes to a node."""
        return False

    def check(self) -> None:
        """Check that Ray is installed, and that something answers at the address.

        Raises:
            EngineError: if not.
        """
        _package()
        _ping(self.address)

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        *,
        threads: int | None = None,
        keep_going: bool = False,
    ) -> Iterator[tuple[Task, Result | TfrnnxError]]:
        """As `Engine.run`; threads are as many cores to Ray, one by default.

        What is shared is sent once to each node.
        """
        self.check()
        if not tasks:
            return iter(())
        return _on_ray(self.address, function, shared, tasks, threads or 1, keep_going)


def _call(
    function: Callable[[Shared, Task], Result], shared: Shared, task: Task, keep_going: bool
) -> Result | TfrnnxError:
    try:
        return function(shared, task)
    except TfrnnxError as error:
        if not keep_going:
            raise
        return error


def _packed(thing: object) -> _Packed:
    """Return what is unpickled later than the arguments of a task: once plugins are loaded.

    Arrays stand beside the bytes, so that Ray and joblib can share them among processes.
    """
    buffers: list[pickle.PickleBuffer] = []
    content = cloudpickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    return content, [np.asarray(buffer.raw()) for buffer in buffers]


def _unpacked(packed: _Packed) -> Any:
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
    everywhere = (threads, plugins.loaded(), _packed((function, shared)), keep_going)
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
        finished: Any = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs")(
            joblib.delayed(_in_process)(*everywhere, _packed(task)) for task in tasks
        )
        try:
            yield from finished
        except TerminatedWorkerError as error:
            raise EngineError(
                "Expected every process to finish its task. Received: one that was killed, perhaps "
                "for want of memory; try again with fewer jobs"
            ) from error


def _in_process(
    threads: int, loaded: list[plugins.Plugin], call: _Packed, keep_going: bool, packed: _Packed
) -> tuple[Any, Any]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    _begin(threads, loaded)
    function, shared = _unpacked(call)
    task = _unpacked(packed)
    return task, _call(function, shared, task, keep_going)


def _begin(threads: int, loaded: list[plugins.Plugin]) -> None:
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


def _on_ray(
    address: str | None,
    function: Callable[[Shared, Task], Result],
    shared: Shared,
    tasks: Sequence[Task],
    threads: int,
    keep_going: bool,
) -> Iterator[tuple[Task, Result | TfrnnxError]]:
    with _connected(address) as ray:
        call = ray.remote(num_cpus=threads, max_retries=RETRIES)(_in_worker)
        everywhere = ray.put((threads, plugins.loaded(), _packed((function, shared))))
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        while True:
            for task in islice(waiting, _IN_FLIGHT - len(running)):
                running[call.remote(everywhere, _packed(task))] = task
            if not running:
                return
            (finished,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(finished)
            outcome = _result(ray, finished)
            if isinstance(outcome, TfrnnxError) and not keep_going:
                raise outcome
            yield task, outcome


def _in_worker(everywhere: tuple[int, list[plugins.Plugin], _Packed], packed: _Packed) -> _Packed:
    """Return a task's result or error; Ray would wrap what is raised, and its traceback.

    It is packed, because Ray's proxy, at addresses ray://, unpickles what it hands on.
    """
    threads, loaded, call = everywhere
    try:
        _begin(threads, loaded)
    except TfrnnxError as error:
        return _packed(error)
    function, shared = _unpacked(call)
    return _packed(_call(function, shared, _unpacked(packed), True))


def _result(ray: Any, finished: Any) -> Any:
    """Return what a task left: its result, or a `TfrnnxError`."""
    try:
        return _unpacked(ray.get(finished))
    except ray.exceptions.RayTaskError as error:
        if "No module named" not in str(error):
            raise  # a defect
        raise EngineError(
            "Expected tfrnnx and its packages on every node of the cluster, in the versions of "
            f"this machine. Received: {str(error).strip().splitlines()[-1]}"
        ) from None
    except ray.exceptions.RayError as error:
        return EngineError(
            f"Expected a task to end in {1 + RETRIES} attempts. Received: processes or nodes that "
            f"were lost, perhaps for want of memory: {str(error).strip().splitlines()[0]}"
        )


def _package() -> Any:
    """Return the module `ray`, imported by name: type checkers need not find what is optional."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise EngineError(
            "Expected the package ray, for the engine of that name. Received: "
            f"{error}; pip install '{RAY}'"
        ) from None


def _ping(address: str | None) -> None:
    """Check that something listens at host:port: Ray would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _silent(address, error) from error


def _silent(address: str | None, error: Exception) -> EngineError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return EngineError(
        "Expected a Ray cluster at the address: auto, host:port or ray://host:port. Received: "
        f"{address}: {reason}; ray start --head starts one"
    )


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Yield the module `ray`, connected; a connection that was there before remains."""
    ray = _package()
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    options = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # Ray raises many kinds
        raise _silent(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()
