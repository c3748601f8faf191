"""Where independent tasks run: in this process, in processes of this machine, or on Ray."""

import importlib
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import tensorflow as tf

from tfrnnx.checks import whole_number
from tfrnnx.errors import ConfigError, EngineError, TfrnnxError, TfrnnxWarning

ENGINES = ("local", "ray")
RETRIES = 3  # of a task whose process or node was lost; Ray's count
_IN_FLIGHT = 1000  # tasks that Ray knows of: it need not keep all of a million
_ANSWER_SECONDS = 5.0

Task = TypeVar("Task")


@dataclass(frozen=True)
class Engine:
    """Where tasks run.

    Attributes:
        name: "local" or "ray".
        jobs: of the local engine, how many processes work at once; 1 is this process.
        address: of a Ray cluster: "auto" (the one of this machine), "host:port" or
            "ray://host:port"; None starts Ray on this machine, until the tasks have ended.
    """

    name: str = "local"
    jobs: int = 1
    address: str | None = None

    def check(self) -> None:
        """Check the attributes, and that there is such an engine.

        Raises:
            ConfigError: naming the attribute that does not fit.
            EngineError: if Ray is not installed, or nothing answers at its address.
        """
        if self.name not in ENGINES:
            raise ConfigError(
                f"Expected an engine of {', '.join(ENGINES)}. Received: {self.name!r}"
            )
        whole_number("jobs", self.jobs, minimum=1)
        if self.name == "ray" and self.jobs != 1:
            raise ConfigError(
                "Expected no jobs beside the engine ray, which runs as many tasks at once as the "
                f"cluster has cores. Received: {self.jobs}"
            )
        if self.name == "local" and self.address is not None:
            raise ConfigError(
                "Expected the engine ray beside the address of a cluster. Received: local and "
                f"{self.address}"
            )
        if self.name == "ray":
            _package()
            _ping(self.address)

    def run(
        self,
        function: Callable[[Any, Task], Any],
        shared: Any,
        tasks: Sequence[Task],
        *,
        threads: int | None = None,
        keep_going: bool = False,
    ) -> Iterator[tuple[Task, Any]]:
        """Yield every task with what `function(shared, task)` returns, as they finish.

        Ray runs a task anew, on any node, where the process or the node that had it is lost; a task
        should therefore have no effect but its result, or one that may happen twice.

        Args:
            function: of a module, so that other processes find it.
            shared: what all tasks need; Ray sends it once to each node.
            tasks: small, or a node's worth of memory.
            threads: of TensorFlow for a task in a process of its own, which are as many cores to
                Ray. None is the process's share of this machine's cores, and one core of Ray.
            keep_going: yield a `TfrnnxError` of a task in the place of its result. Else it is
                raised, and the other tasks are ended.

        Raises:
            ConfigError, EngineError: as `check`.
            EngineError: if Ray does not start, or a process was killed.
            TfrnnxError: of a task, unless `keep_going`.
        """
        self.check()
        if not tasks:
            return iter(())
        if self.name == "ray":
            return _on_ray(self.address, function, shared, tasks, threads or 1, keep_going)
        jobs = min(self.jobs, len(tasks))
        if jobs > 1:
            return _in_processes(jobs, function, shared, tasks, threads, keep_going)
        return (_call(function, shared, task, keep_going) for task in tasks)


def _call(
    function: Callable[[Any, Task], Any], shared: Any, task: Task, keep_going: bool
) -> tuple[Task, Any]:
    try:
        return task, function(shared, task)
    except TfrnnxError as error:
        if not keep_going:
            raise
        return task, error


def _in_processes(
    jobs: int,
    function: Callable[[Any, Task], Any],
    shared: Any,
    tasks: Sequence[Task],
    threads: int | None,
    keep_going: bool,
) -> Iterator[tuple[Task, Any]]:
    import joblib  # not at the head: most programs run no processes
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    threads = threads or max(1, joblib.cpu_count() // jobs)
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
        finished: Any = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs")(
            joblib.delayed(_in_process)(threads, function, shared, task, keep_going)
            for task in tasks
        )
        try:
            yield from finished
        except TerminatedWorkerError as error:
            raise EngineError(
                "Expected every process to finish its task. Received: one that was killed, perhaps "
                "for want of memory; the same command goes on, or try fewer --jobs"
            ) from error


def _in_process(threads: int, *call: Any) -> tuple[Any, Any]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    _begin(threads)
    return _call(*call)


def _begin(threads: int) -> None:
    limit_threads(threads)
    warnings.simplefilter("ignore", TfrnnxWarning)  # each process would tell it anew


def limit_threads(threads: int) -> None:
    """Have this process's TensorFlow compute with so many threads; at its first use, not later."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _on_ray(
    address: str | None,
    function: Callable[[Any, Task], Any],
    shared: Any,
    tasks: Sequence[Task],
    threads: int,
    keep_going: bool,
) -> Iterator[tuple[Task, Any]]:
    with _connected(address) as ray:
        call = ray.remote(num_cpus=threads, max_retries=RETRIES)(_in_worker)
        everywhere = ray.put((threads, function, shared))
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        while True:
            for task in islice(waiting, _IN_FLIGHT - len(running)):
                running[call.remote(everywhere, task)] = task
            if not running:
                return
            (finished,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(finished)
            outcome, failed = _result(ray, finished)
            if failed and not keep_going:
                raise outcome
            yield task, outcome


def _in_worker(everywhere: tuple[int, Callable[[Any, Any], Any], Any], task: Any) -> Any:
    """Return a task's result or error; Ray would wrap what is raised, and its traceback."""
    threads, function, shared = everywhere
    _begin(threads)
    return _call(function, shared, task, True)[1]


def _result(ray: Any, finished: Any) -> tuple[Any, bool]:
    """Return what a task left, and whether that is an error."""
    try:
        result = ray.get(finished)
    except ray.exceptions.RayTaskError as error:
        if "No module named" not in str(error):
            raise  # a defect
        raise EngineError(
            "Expected tfrnnx and its packages on every node of the cluster, in the versions of "
            f"this machine. Received: {str(error).strip().splitlines()[-1]}"
        ) from None
    except ray.exceptions.RayError as error:
        result = EngineError(
            f"Expected a task to end in {1 + RETRIES} attempts. Received: processes or nodes that "
            f"were lost, perhaps for want of memory: {str(error).strip().splitlines()[0]}"
        )
    return result, isinstance(result, TfrnnxError)


def _package() -> Any:
    """Return the module `ray`, imported by name: type checkers need not find what is optional."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise EngineError(
            "Expected the package ray, for the engine of that name. Received: "
            f"{error}; pip install 'tfrnnx[ray]'"
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
