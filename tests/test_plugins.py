"""Code of a user's own, from files and modules outside of the package."""

import hashlib
import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest
from plugin_files import MINE, SMALL, write
from programs import fork, run

import tfrnnx
from tfrnnx import plugins
from tfrnnx.errors import (
    ConfigError,
    EngineError,
    PluginError,
    PluginWarning,
)
from tfrnnx.storage.engines import LocalEngine, limit_threads

pytestmark = pytest.mark.usefixtures("own_plugins")


# Loading


def test_a_file_is_the_module_of_its_name(tmp_path, monkeypatch):
    path = write(tmp_path / "mine.py", MINE)
    plugin = tfrnnx.load_plugin(path)
    digest = hashlib.sha256(MINE.encode()).hexdigest()
    assert plugin == plugins.Plugin("mine", "mine.py", MINE.encode(), digest)
    assert plugins.loaded() == [plugin] and plugins.record() == {"mine.py": digest}
    assert importlib.import_module("mine").Counter.__module__ == "mine"
    assert "mine" in tfrnnx.architectures
    monkeypatch.chdir(tmp_path)
    assert tfrnnx.load_plugin("mine.py") is plugin  # else the name would be registered twice
    assert not list(tmp_path.glob("__pycache__"))
    model = tfrnnx.build("mine", input_shape=(3, 2, 2), classes=2, recur=3)
    x = np.ones((2, 3, 2, 2), np.float32)
    for method in ("gradient", "dtd"):
        assert np.isfinite(tfrnnx.explain(model, x, method)).all()


def test_a_module_that_can_be_imported(found):
    path = write(found / "mine.py", MINE)
    plugin = tfrnnx.load_plugin("mine")
    assert (plugin.name, plugin.file, plugin.source) == ("mine", "mine.py", MINE.encode())
    assert tfrnnx.load_plugin(path) is tfrnnx.load_plugin("mine") is plugin


def test_a_file_that_was_imported_before(found):
    path = write(found / "mine.py", MINE)
    module = importlib.import_module("mine")
    assert tfrnnx.load_plugin(path).source == MINE.encode()
    assert sys.modules["mine"] is module


def test_a_package_and_a_module_in_it(found):
    write(found / "lab" / "__init__.py", "")
    write(found / "lab" / "small.py", SMALL)
    inside = tfrnnx.load_plugin("lab.small")
    package = tfrnnx.load_plugin("lab")
    assert (inside.file, package.file) == ("lab.small", "lab")
    assert inside.source is package.source is None
    assert "small" in tfrnnx.architectures
    write(found / "lab" / "other.py", "")
    with pytest.raises(PluginError, match="Received: lab, which is another than .* loaded"):
        tfrnnx.load_plugin("lab")


def test_plugins_of_plugins(tmp_path):
    write(tmp_path / "first.py", "x = 1")
    load = f"plugins.load({str(tmp_path / 'first.py')!r})"
    second = f"from tfrnnx import plugins\n{load}\nimport first"
    tfrnnx.load_plugin(write(tmp_path / "second.py", second))
    assert list(plugins.record()) == ["first.py", "second.py"]
    third = write(tmp_path / "mine.py", second.replace("first", "small") + "\nx = 1 / 0")
    write(tmp_path / "small.py", SMALL)
    with pytest.raises(PluginError, match="mine.py, line 4"):
        tfrnnx.load_plugin(third)
    assert "small" not in tfrnnx.architectures
    tfrnnx.load_plugin(tmp_path / "small.py")
    assert "small" in tfrnnx.architectures and "mine.py" not in plugins.record()


# Mistakes

TWICE = "import tfrnnx\n\n@tfrnnx.architectures.register('rlstm')\ndef rlstm(): ...\n"


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("mine.py", "x = 1\ny = (\n", "mine.py, line 2: SyntaxError: '\\(' was never closed"),
        ("mine.py", "\n\nx = 1 / 0\n", "mine.py, line 3: ZeroDivisionError: division by zero"),
        ("mine.py", "def f():\n  raise OSError\nf()\n", "mine.py, line 2: OSError$"),
        ("mine.py", "raise SystemExit('no')", "mine.py, line 1: SystemExit: no"),
        ("mine.py", "import nowhere", "mine.py, line 1: ModuleNotFoundError: No .* 'nowhere'"),
        ("mine.py", TWICE, "mine.py, line 3: RegistrationError: .*'rlstm', .*architectures.py"),
        ("json.py", "", "json.py, called as another module, .*json.__init__.py; rename"),
        ("sys.py", "", "sys.py, called as another module, sys; rename"),
        ("statistics.py", "", "statistics.py, called as another module, .*; rename"),
        ("my-plugin.py", "", "my-plugin.py, a name that no module can have; rename"),
        ("class.py", "", "class.py, a name that no module can have; rename"),
        ("a.b.py", "", "a.b.py, a name that no module can have; rename"),
        ("mine.txt", "", "mine.txt, a name that no module can have; rename"),
    ],
)
def test_mistakes_in_files(tmp_path, name, content, said):
    before = list(tfrnnx.architectures)
    with pytest.raises(PluginError, match=f"^Expected a plugin.* Received: .*{said}") as caught:
        tfrnnx.load_plugin(write(tmp_path / name, content))
    assert "\n" not in str(caught.value) and isinstance(caught.value, ImportError)
    assert plugins.loaded() == [] and list(tfrnnx.architectures) == before
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    "where, said",
    [
        ("nowhere.py", "nowhere.py: No such file"),
        ("{tmp}/nowhere", "nowhere: No such file"),
        ("{tmp}", "Is a directory"),
        ("nowhere", "nowhere: ModuleNotFoundError: No module named 'nowhere'"),
        ("sys", "sys, which has no file"),
        ("", "ValueError: Empty module name"),
    ],
)
def test_mistakes_of_names(tmp_path, where, said):
    with pytest.raises(PluginError, match=f"^Expected a plugin.* Received: .*{said}"):
        tfrnnx.load_plugin(where.format(tmp=tmp_path))


def test_what_is_mended_loads(found):
    path = write(found / "mine.py", MINE + "x = 1 / 0")
    with pytest.raises(PluginError, match=f"line {MINE.count(chr(10)) + 1}: ZeroDivisionError"):
        tfrnnx.load_plugin(path)
    write(path, MINE)
    tfrnnx.load_plugin(path)
    write(found / "lab" / "__init__.py", "from lab import small, second")
    write(found / "lab" / "small.py", SMALL)
    broken = write(found / "lab" / "second.py", "x = 1 / 0")
    with pytest.raises(PluginError, match="second.py, line 1: ZeroDivisionError"):
        tfrnnx.load_plugin("lab")
    assert "small" not in tfrnnx.architectures
    write(broken, "x = 12345")
    tfrnnx.load_plugin("lab")
    assert "small" in tfrnnx.architectures


def test_a_file_that_has_changed_since(tmp_path):
    path = write(tmp_path / "mine.py", MINE)
    tfrnnx.load_plugin(path)
    write(path, MINE + "\n")
    with pytest.raises(PluginError, match="mine.py, which is another .* start Python anew$"):
        tfrnnx.load_plugin(path)


# What was made with them


def test_what_was_made_with_a_plugin_asks_for_it(tmp_path):
    made = {"mine.py": hashlib.sha256(MINE.encode()).hexdigest()}
    said = r'mine.py, which the study was made with.* no plugins; tfrnnx.load_plugin\("mine.py"\)'
    for ask in (plugins.check, plugins.tell_changes):
        with pytest.raises(ConfigError, match=said):
            ask(made, "the study")
    path = write(tmp_path / "mine.py", MINE)
    tfrnnx.load_plugin(path)
    for ask in (plugins.check, plugins.tell_changes):
        ask(made, "the study")
        ask({}, "the study")
    before, now = "0" * 64, made["mine.py"][:12]
    with pytest.raises(ConfigError, match=f"study was made, 0{{12}}. Received: {now};"):
        plugins.check({"mine.py": before}, "the study")
    with pytest.warns(PluginWarning, match=f"mine.py is another, {now}, than .* made, 0{{12}}$"):
        plugins.tell_changes({"mine.py": before}, "the study")


# Other processes


def sources(shared, task):
    """The source of a class, as AutoGraph and messages look for it."""
    return inspect.getsource(type(shared)), plugins.record()


def summed(shared, task):
    return sum(array.sum() for array in shared.values())


# tests/test_outside.py has them reach a cluster, in a study.
@pytest.mark.parametrize("engine", ["processes", pytest.param("cluster", marks=pytest.mark.slow)])
def test_tasks_elsewhere_have_the_plugins(tmp_path, engine, request, monkeypatch):
    if engine == "processes":
        assert_tasks_have_the_plugins(LocalEngine(2), tmp_path, monkeypatch)
    else:
        with request.getfixturevalue("connect")():
            cluster = request.getfixturevalue("cluster")
            assert_tasks_have_the_plugins(cluster, tmp_path, monkeypatch)


def assert_tasks_have_the_plugins(engine, tmp_path, monkeypatch):
    """They get the content, before what they are to do: the file is gone when they begin."""
    path = write(tmp_path / "small.py", SMALL)
    tfrnnx.load_plugin(path)
    small = sys.modules["small"]
    path.unlink()
    tasks = [small.Scaled(n) for n in range(3)]
    results = [result for _, result in engine.run(small.scale, small.Scaled(10), tasks)]
    assert sorted(result.factor for result in results) == [0, 10, 20]
    assert {type(result) for result in results} == {small.Scaled}
    arrays = {"a": np.arange(10**6), "b": np.zeros((0, 2)), "c": np.ones((3, 4)).T}
    for _, total in engine.run(summed, arrays, [1, 2]):
        assert total == arrays["a"].sum() + 12
    for _, (source, record) in engine.run(sources, small.Scaled(1), [1, 2]):
        assert source in SMALL and source.startswith("class Scaled")
        assert record == plugins.record()
    # A package is to be installed everywhere.
    with monkeypatch.context() as here:
        here.syspath_prepend(tmp_path)
        write(tmp_path / "lab" / "__init__.py", "x = 1")
        tfrnnx.load_plugin("lab")
    with pytest.raises(PluginError, match="Received: lab: ModuleNotFoundError"):
        list(engine.run(sources, None, [1, 2]))


def test_another_version_elsewhere(found):
    write(found / "lab" / "__init__.py", "x = 1")
    here = tfrnnx.load_plugin("lab")
    other = plugins.Plugin("lab", "lab", None, "0" * 64)
    plugins.restore([here])
    with pytest.raises(PluginError, match="plugin lab to be the same in every process, 0{12}."):
        plugins.restore([other])


def test_a_restored_plugin_needs_no_file(tmp_path):
    digest = hashlib.sha256(SMALL.encode()).hexdigest()
    plugins.restore([plugins.Plugin("small", "small.py", SMALL.encode(), digest)])
    assert tfrnnx.load_plugin(tmp_path / "small.py").digest == digest  # as another plugin may ask
    assert "small" in tfrnnx.architectures


def _computes_when_it_is_loaded(path):
    tfrnnx.load_plugin(path)
    with pytest.raises(EngineError, match="by a plugin perhaps"):
        limit_threads(1)


def test_a_plugin_that_computes_when_it_is_loaded(tmp_path):
    path = write(tmp_path / "small.py", "import tensorflow as tf\nx = tf.ones(3) + 1\n")
    assert fork(_computes_when_it_is_loaded, path) == 0


# The programs


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_the_programs_offer_what_plugins_bring(tmp_path, program):
    write(tmp_path / "mine.py", MINE)
    write(tmp_path / "small.py", SMALL)
    given = ("--data_dir", "x", "--plugin=mine.py", "--arch", "mine", "-plugin", "small.py")
    shown = run(program, *given, "--help", cwd=tmp_path).out
    assert "|mine|small>" in "".join(shown.split()) or "mine, small;" in shown
    assert "--plugin" in shown


@pytest.mark.parametrize("program", ["train", "evaluate", "explain", "export"])
def test_a_mistake_is_one_line_of_the_programs(tmp_path, program):
    write(tmp_path / "mine.py", "x = 1 / 0\n")
    for flags, said in (
        (("--plugin=mine.py",), "mine.py, line 1: ZeroDivisionError"),
        (("-plugin", "nowhere.py"), "nowhere.py: No such file"),
        (("--plugin",), "plugin"),
    ):
        result = run(program, *flags, cwd=tmp_path)
        assert result.code == 1 and result.out == ""
        assert result.err.startswith("error: ") and said in result.err
        assert result.err.count("\n") == 1


def distribution(folder, name, module):
    info = folder / f"{name}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    write(info / "entry_points.txt", f"[tfrnnx.plugins]\n{module} = {module}\n")


def test_plugins_that_are_installed(found):
    write(found / "small.py", SMALL)
    distribution(found, "small-networks", "small")
    assert [plugin.name for plugin in plugins.load_installed()] == ["small"]
    assert "small" in tfrnnx.architectures
    write(found / "second.py", "\nx = 1 / 0")
    distribution(found, "broken-networks", "second")
    said = "second.py, line 2: ZeroDivisionError.* distribution broken-networks: mend it"
    with pytest.raises(PluginError, match=said):
        plugins.load_installed()


def test_the_programs_load_what_is_installed(found):
    write(found / "small.py", SMALL)
    distribution(found, "small-networks", "small")
    done = subprocess.run(
        [sys.executable, "-m", "tfrnnx.cli.train", "--help"], capture_output=True, text=True
    )
    assert "|small>" in "".join(done.stdout.split())
