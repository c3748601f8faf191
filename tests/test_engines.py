"""Tasks in processes and on a Ray cluster whose nodes come and go."""

import os
import signal
import socket
import sys
import threading
import tomllib
from pathlib import Path

import pytest
import tensorflow as tf
from programs import wait_for

import tfrnnx
from tfrnnx.errors import ConfigError, EngineError, InputError, UnknownNameError
from tfrnnx.storage import ray_engine
from tfrnnx.storage.engines import LocalEngine, engines, get_engine
from tfrnnx.storage.ray_engine import RAY, RayEngine

# Functions of tasks stand here, by the name that other processes import.


def add(shared, task):
    if task < 0:
        raise InputError(f"Expected a task >= 0. Received: {task}")
    return shared + task


def end_process(shared, task):
    if task == shared:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def wait_for_go(folder, task):
    """Leave a mark for each attempt, then wait for a file; return the task."""
    (Path(folder) / f"{task}-{os.getpid()}").touch()
    wait_for((Path(folder) / "go").exists)
    return task


def threads_used(shared, task):
    """The sizes of TensorFlow's pools in this process, after a computation."""
    tf.reduce_sum(tf.ones((10, 10))).numpy()
    config = tf.config.threading
    return config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()


def test_tasks_in_this_process_and_in_processes():
    for jobs in (1, 2):
        assert sorted(LocalEngine(jobs=jobs).run(add, 10, range(5))) == [
            (n, 10 + n) for n in range(5)
        ]
        assert list(LocalEngine(jobs=jobs).run(add, 10, [])) == []


def test_addresses_at_which_there_is_no_cluster():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray>=2.49'")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = nobody.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999"):
            with pytest.raises(EngineError, match=f"Received: {address}: .*; ray start --head"):
                RayEngine(address).check()
    with pytest.raises(EngineError, match="Received: nonsense: Invalid address"):
        list(RayEngine("nonsense").run(add, 1, [1]))


@pytest.fixture(scope="module")
def connected(cluster, connect):
    """The cluster, to which what follows has one connection."""
    with connect():
        yield cluster


def test_a_connection_is_made_where_there_is_none(cluster):
    import ray

    assert not ray.is_initialized()
    assert list(cluster.run(add, 10, [1])) == [(1, 11)]
    assert not ray.is_initialized()


def test_tasks_on_ray_give_what_they_give_here(connected):
    tasks = list(range(50))
    assert sorted(connected.run(add, 10, tasks)) == list(LocalEngine().run(add, 10, tasks))


@pytest.mark.parametrize("engine", ["here", "processes", "connected"])
def test_an_error_of_a_task(engine, request):
    engines = {"here": LocalEngine(), "processes": LocalEngine(jobs=2)}
    engine = engines[engine] if engine in engines else request.getfixturevalue(engine)
    with_error = dict(engine.run(add, 0, [-1, 1, 2], keep_going=True))
    assert type(with_error.pop(-1)) is InputError and with_error == {1: 1, 2: 2}
    with pytest.raises(InputError, match="^Expected a task >= 0. Received: -1$"):
        list(engine.run(add, 0, [-1, 1]))


def test_tasks_on_ray_use_as_many_threads_as_they_have_cores(connected):
    assert dict(connected.run(threads_used, None, [0, 1])) == {0: (1, 1), 1: (1, 1)}


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle(connected, lose_node, tmp_path):
    tasks = list(range(6))
    finished = connected.run(wait_for_go, str(tmp_path), tasks)

    def remove_node():
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)  # one task on each node
        lose_node()
        (tmp_path / "go").touch()

    thread = threading.Thread(target=remove_node)
    thread.start()
    assert sorted(finished) == [(task, task) for task in tasks]
    thread.join()
    attempts = sorted(path.name for path in tmp_path.iterdir() if path.name != "go")
    assert len(attempts) == len(tasks) + 1  # what the lost node had, twice


def test_a_task_that_ends_its_process_is_named_and_the_others_finish(connected, monkeypatch):
    monkeypatch.setattr(ray_engine, "RETRIES", 1)
    found = dict(connected.run(end_process, 1, [0, 1, 2], keep_going=True))
    error = found.pop(1)
    assert found == {0: 0, 2: 2}
    assert isinstance(error, EngineError) and "in 2 attempts" in str(error)
    assert "were lost" in str(error)


def test_a_killed_process_of_this_machine():
    with pytest.raises(EngineError, match="one that was killed.*with fewer jobs$"):
        list(LocalEngine(jobs=2).run(end_process, 1, [0, 1, 2], keep_going=True))


def test_nodes_without_the_package(connected, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def task(shared, task):\n    return task\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    with pytest.raises(EngineError, match="on every node .* Received: .*only_here"):
        list(connected.run(only_here.task, None, [1]))


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match="the package ray.* Received: .*'ray>=2.49'$"):
        RayEngine().check()


@pytest.mark.parametrize(
    ("name", "parameters", "error", "message"),
    [
        ("dask", {}, UnknownNameError, "Unknown engine: .* local, ray. Received: 'dask'"),
        ("local", {"jobs": 0}, ConfigError, "jobs to be an integer >= 1. Received: 0"),
        ("ray", {"jobs": 2}, ConfigError, "Engine 'ray' takes address. Received: jobs=2"),
        ("local", {"address": "auto"}, ConfigError, "'local' takes jobs. Received: address='auto'"),
    ],
)
def test_what_does_not_fit(name, parameters, error, message):
    with pytest.raises(error, match=message):
        get_engine(name, **parameters)


def test_an_engine_of_ones_own(monkeypatch):
    monkeypatch.setattr(engines, "_entries", dict(engines._entries))

    @engines.register("backwards")
    class Backwards:
        shares_files = True

        def __init__(self, jobs=1):
            self.jobs = jobs

        def runs_here(self, tasks):
            return False

        def check(self):
            pass

        def run(self, function, shared, tasks, *, threads=None, keep_going=False):
            return LocalEngine().run(function, shared, tasks[::-1], keep_going=keep_going)

    engine = get_engine("backwards", jobs=3)
    assert engine.jobs == 3
    assert list(engine.run(add, 10, range(2))) == [(1, 11), (0, 10)]
    assert "backwards" in tfrnnx.engines.names()


def test_the_advice_how_to_install_ray_is_the_packages_own():
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["optional-dependencies"]["ray"] == [RAY]
