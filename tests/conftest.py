import os
import sys
from contextlib import contextmanager
from pathlib import Path

# Before TensorFlow is imported: no log lines of the C++ side, in subprocesses neither.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

# The same examples in every run, on every machine, and no files beside the code.
hypothesis.settings.register_profile(
    "tfrnnx",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tfrnnx")


def pytest_configure(config):
    """Leave what pays in use out of the tests: XLA takes a second for every explainer."""
    from tfrnnx.explaining import compiled

    # How much arrives is what most tests look at themselves. Said here, for pytest would import
    # the package to find the class, and have all that its dependencies warn of be errors.
    config.addinivalue_line("filterwarnings", "ignore::tfrnnx.errors.AbsorbedWarning")
    config.most_that_pays = compiled.most_that_pays
    compiled.most_that_pays = lambda loops, divisible, relevance: 0


@pytest.fixture
def compiled(monkeypatch, request):
    """Have explainers compile as they do in use."""
    from tfrnnx.explaining import compiled

    monkeypatch.setattr(compiled, "most_that_pays", request.config.most_that_pays)


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """Small reports of images, series and text."""
    from reports import made

    return made(tmp_path_factory.mktemp("reports"))


# Their tests share a cluster of Ray.
ON_RAY = {"test_engines", "test_evaluate", "test_outside", "test_plugins", "test_shards"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each file to one of the processes of `-n`, which makes once what its tests share.

    The checks of what is registered share nothing, and there are many: one at a time, at last,
    they keep all processes at work until the end.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = Path(nodeid.partition("::")[0]).stem
            if file == "test_conformance":
                return nodeid
            return "ray" if file in ON_RAY else file

    return ByFile(config, log)


@pytest.fixture
def eagerly():
    """Run what is a `tf.function` step by step, for the duration of a test."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def own_plugins(monkeypatch):
    """Take back what a test loads as plugins, or registers."""
    from tfrnnx import plugins
    from tfrnnx.registry import all_or_nothing

    monkeypatch.setattr(plugins, "_loaded", {})
    modules = set(sys.modules)
    with pytest.raises(_Undone), all_or_nothing():
        yield
        raise _Undone
    for name in set(sys.modules) - modules:
        if name.split(".")[0] in {"mine", "small", "lab", "first", "second"}:
            del sys.modules[name]


class _Undone(Exception):
    pass


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A folder where `import` looks."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *filter(None, sys.path))))
    return tmp_path


NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="session")
def nodes():
    """A Ray cluster of two nodes with one core each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray>=2.49'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Processes of Ray find functions of the tests where pytest does.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        cluster.add_node(**NODE)
        cluster.wait_for_nodes(300)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="session")
def cluster(nodes):
    """An engine on the cluster."""
    from tfrnnx.storage.ray_engine import RayEngine

    return RayEngine(nodes.address)


@pytest.fixture
def lose_node(nodes):
    """A function that ends one of the two nodes; after the test another one takes its place."""
    yield lambda: nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
    nodes.add_node(**NODE)
    nodes.wait_for_nodes(300)


@pytest.fixture(scope="session")
def connect(nodes):
    """A context of one connection to the cluster, whose processes remain from run to run."""
    import ray

    @contextmanager
    def connected():
        ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()

    return connected
