"""Models from files: those with layers of one's own, and those that are not what they seem."""

import hashlib
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from plugin_files import MINE, write

import tfrnnx
from tfrnnx import plugins
from tfrnnx.errors import ConfigError, ModelFileError, PluginWarning

pytestmark = [
    pytest.mark.usefixtures("own_plugins"),
    # keras.Variable has an __array__ of before NumPy 2, and Keras saves with it.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]

COMMITTED = Path(__file__).parents[1] / "saved_models"


def test_layers_are_registered_where_they_are_defined():
    def define():
        class Own(tfrnnx.layers.ExplainableLayer):
            pass

        return Own

    define()
    again = define()
    assert keras.saving.get_registered_object(f"{__name__}>Own") is again
    for cls in (tfrnnx.layers.Dense, tfrnnx.layers.RLSTMCell, tfrnnx.layers.ExplainableCell):
        assert keras.saving.get_registered_name(cls) == f"tfrnnx>{cls.__name__}"


@pytest.fixture
def own_model(tmp_path):
    """A model with a cell of mine.py, saved."""
    tfrnnx.load_plugin(write(tmp_path / "mine.py", MINE))
    model = tfrnnx.build("mine", input_shape=(3, 2, 2), classes=2, recur=3)
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.fixture
def forgotten(own_model, monkeypatch):
    """The same, where Keras does not know the cell."""
    monkeypatch.delitem(keras.saving.get_custom_objects(), "mine>Counter")
    del sys.modules["mine"]
    monkeypatch.setattr(plugins, "_loaded", {})
    return own_model


def test_a_model_after_an_import_and_after_loading(own_model):
    x = np.ones((2, 3, 2, 2), np.float32)
    logits = tfrnnx.load_model(own_model)(x)
    script = f"""
import numpy as np, sys
{{}}
x = np.ones((2, 3, 2, 2), np.float32)
np.testing.assert_array_equal(model(x), np.array({np.asarray(logits).tolist()}, np.float32))
"""
    for load in (
        "import keras, mine; model = keras.saving.load_model('model.keras')",
        "import tfrnnx; tfrnnx.load_plugin('mine.py'); model = tfrnnx.load_model('model.keras')",
    ):
        command = [sys.executable, "-c", script.format(load)]
        done = subprocess.run(command, cwd=own_model.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_model_without_its_plugin(forgotten):
    said = r'Received: class Counter of module mine; tfrnnx.load_plugin\("mine.py"\) loads'
    with pytest.raises(ModelFileError, match=said):
        tfrnnx.load_model(forgotten)
    made = {"plugins": {"mine.py": hashlib.sha256(MINE.encode()).hexdigest()}}
    forgotten.with_name("config.json").write_text(json.dumps(made))
    with pytest.raises(ConfigError, match=r"plugin mine.py, which .*model.keras was made with"):
        tfrnnx.load_model(forgotten.parent)


def test_a_model_with_a_changed_plugin(forgotten):
    made = {"plugins": {"mine.py": "0" * 64}}
    forgotten.with_name("config.json").write_text(json.dumps(made))
    plugin = forgotten.with_name("mine.py")
    plugin.write_text(MINE.replace('register("mine")', 'register("mine", replace=True)'))
    tfrnnx.load_plugin(plugin)
    with pytest.warns(PluginWarning, match="plugin mine.py is another"):
        tfrnnx.load_model(forgotten)


@pytest.mark.parametrize("content", ["{", "[]", '{"plugins": 3}', "{}", "\xff"])
def test_another_file_beside_a_model(own_model, content):
    own_model.with_name("config.json").write_text(content, encoding="latin-1")
    tfrnnx.load_model(own_model)


def change(path, edit):
    """Edit the configuration in a .keras file."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    edit(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def sneaky(kind, name="Sneaky", module="keras_hub"):
    config = "sneaky" if kind == "function" else {}
    known = name if kind == "function" else None
    return {"class_name": name, "module": module, "config": config, "registered_name": known}


@pytest.mark.parametrize("module", ["keras_hub", "sneaky", "keras_nlp.sneaky"])
@pytest.mark.parametrize("where", ["layer", "activation", "dtype", "initializer", "loss", "spec"])
def test_nothing_is_imported_because_a_model_says_so(found, where, module):
    imported = found / "imported"
    content = f"open({str(imported)!r}, 'w').close()\n"
    for file in ("keras_hub.py", "sneaky.py", "keras_nlp/__init__.py", "keras_nlp/sneaky.py"):
        write(found / file, content)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    path = found / "model.keras"
    model.save(path)

    def edit(config):
        dense = config["config"]["layers"][1]
        if where == "layer":
            dense |= sneaky("class", "Dense", module)
        elif where == "activation":
            dense["config"]["activation"] = sneaky("function", "function", module)
        elif where == "dtype":
            dense["config"]["dtype"] = sneaky("class", "Sneaky", module)
        elif where == "initializer":
            dense["config"]["kernel_initializer"] = sneaky("class", "Sneaky", module)
        elif where == "loss":
            config["compile_config"]["loss"] = sneaky("class", "Sneaky", module)
        else:
            spec = sneaky("class", "__typespec__", module)
            dense["config"]["units"] = {**spec, "config": [], "spec_name": "Sneaky"}

    change(path, edit)
    with pytest.raises(ModelFileError, match=f"(class|function) .* of module {module}; "):
        tfrnnx.load_model(path, compile=True)
    if where == "loss":
        tfrnnx.load_model(path)  # which leaves it out
    assert not imported.exists()


def test_a_class_that_is_imported_but_not_registered(tmp_path):
    class Unknown(keras.layers.Layer):
        pass

    keras.Sequential([keras.Input((2,)), Unknown()]).save(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match=f"class Unknown of module {__name__}; .* registers"):
        tfrnnx.load_model(tmp_path / "model.keras")
    with keras.saving.custom_object_scope({"Unknown": Unknown}):
        tfrnnx.load_model(tmp_path / "model.keras")


def test_a_class_that_keras_does_not_know_is_named(tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(path)
    change(path, lambda config: config["config"]["layers"][1].update(class_name="Denser"))
    with pytest.raises(ModelFileError, match=r"not loadable: Could not .*\.Denser'"):
        tfrnnx.load_model(path)


@pytest.mark.parametrize(
    "path", sorted(COMMITTED.rglob("*.keras")), ids=lambda path: path.parent.name
)
def test_committed_models_go_on_loading(path):
    assert isinstance(tfrnnx.load_model(path), keras.Model)


def a_model(*layers):
    x = keras.Input((4, 3))
    h = x
    for layer in layers:
        h = layer(h)
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.GRU(3)(h)))


def h5(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def test_the_older_format_loads(tmp_path):
    model = a_model(keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True)))
    loaded = tfrnnx.load_model(h5(model, tmp_path / "model.h5"))
    x = np.ones((2, 4, 3), "float32")
    np.testing.assert_array_equal(tfrnnx.explain(loaded, x), tfrnnx.explain(model, x))
    other = tmp_path / "model.other"
    (tmp_path / "model.h5").rename(other)
    with pytest.raises(ModelFileError, match="HDF5 by content; name it .h5"):
        tfrnnx.load_model(other)


def test_weights_alone_are_no_model(tmp_path):
    a_model().save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ModelFileError, match="which has weights alone; build the model"):
        tfrnnx.load_model(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_code_in_a_file_is_not_run(tmp_path, name):
    model = a_model(keras.layers.Lambda(lambda x: 2 * x))
    with pytest.raises(ModelFileError, match="with a lambda; name the function"):
        tfrnnx.load_model(h5(model, tmp_path / name))


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_another_backend_is_one_line(backend):
    program = Path(__file__).parents[1] / "bin" / "train"
    ended = subprocess.run(
        [sys.executable, program, "--arch=rlstm"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: Expected Keras with the backend tensorflow. Received: ")
    assert ended.stderr.count("\n") == 1
