"""Tasks on the nodes of a Ray cluster."""

import importlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tfrnnx import plugins
from tfrnnx.errors import EngineError, TfrnnxError
from tfrnnx.storage.engines import (
    Packed,
    Result,
    Shared,
    Task,
    engines,
    pack,
    perform,
    prepare,
    unpack,
)

RETRIES = 3  # of a task whose process or node was lost; Ray's count
RAY = "ray>=2.49"  # as pyproject.toml has it
# Tasks that Ray knows of: it need not keep all of a million, but more than there are cores.
_IN_FLIGHT = 1000
_IN_FLIGHT_OF_A_CORE = 4
_ANSWER_SECONDS = 5.0


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
        everywhere = ray.put((threads, plugins.loaded(), pack((function, shared))))
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        cores = int(ray.cluster_resources().get("CPU", 1))
        most = max(_IN_FLIGHT, _IN_FLIGHT_OF_A_CORE * cores)
        while True:
            for task in islice(waiting, most - len(running)):
                running[call.remote(everywhere, pack(task))] = task
            if not running:
                return
            (finished,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(finished)
            outcome = _result(ray, finished)
            if isinstance(outcome, TfrnnxError) and not keep_going:
                raise outcome
            yield task, outcome


def _in_worker(everywhere: tuple[int, list[plugins.Plugin], Packed], packed: Packed) -> Packed:
    """Return a task's result or error; Ray would wrap what is raised, and its traceback.

    It is packed, because Ray's proxy, at addresses ray://, unpickles what it hands on.
    """
    threads, loaded, call = everywhere
    try:
        prepare(threads, loaded)
    except TfrnnxError as error:
        return pack(error)
    function, shared = unpack(call)
    return pack(perform(function, shared, unpack(packed), True))


def _result(ray: Any, finished: Any) -> Any:
    """Return what a task left: its result, or a `TfrnnxError`."""
    try:
        return unpack(ray.get(finished))
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
