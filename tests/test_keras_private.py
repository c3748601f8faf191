"""The private names of Keras and TensorFlow that are used: each fails here where it changes."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications.convnext import LayerScale
from tensorflow.python.framework import ops

import tfrnnx
from tfrnnx import _keras


@pytest.fixture
def model():
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="dense")(x))


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([keras.layers.Dense(3, name="first")])
        self.last = keras.layers.Dense(2, name="last")

    def call(self, x):
        return self.last(self.inner(x))


def test_functional():
    sequential = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert sequential._functional.outputs == sequential.outputs
    assert _keras.graph_of(sequential) is sequential._functional
    assert _keras.graph_of(keras.Sequential([keras.layers.Dense(2)])) is None


def test_run_through_graph(model):
    assert hasattr(model, "_run_through_graph")
    assert _keras.graph_of(model) is model
    assert _keras.graph_of(Subclass()) is None and _keras.graph_of(model.layers[-1]) is None
    ran = []

    def counting(layer):
        def run(*args, **kwargs):
            ran.append(layer.name)
            return layer(*args, **kwargs)

        return run

    outputs = _keras.run_graph(model, keras.ops.ones((1, 4)), counting)
    assert ran == ["dense"]
    assert keras.ops.convert_to_numpy(outputs).shape == (1, 2)


def test_keras_history(model):
    assert model.inputs[0]._keras_history.operation.name == "x"
    assert _keras.operation_of(model.outputs[0]) is model.layers[-1]
    assert type(_keras.operation_of(keras.KerasTensor((2,)) + 1)).__name__ == "Add"


def test_inbound_nodes(model):
    dense = model.layers[-1]
    assert len(dense._inbound_nodes) == 1
    ((read,),) = _keras.inputs_of(dense)
    assert read is model.inputs[0]


def test_nodes_outputs():
    layer, x = keras.layers.Dense(2), keras.Input((3,))
    first, second = layer(x), layer(x)
    for made in (first, second):
        graph = keras.Model(x, keras.layers.ReLU()(made))
        assert _keras.made_of(x, graph) is made


def test_arguments_of_nodes():
    x, weight = keras.KerasTensor((2, 3)), keras.Variable(np.ones((2, 3)))
    for made, expected in ((x + weight, [True, False]), (keras.ops.maximum(1.5, x), [False, True])):
        operation = _keras.operation_of(made)
        assert _keras.symbolic_arguments(operation) == expected
        assert _keras.symbolic_arguments(operation) == [
            isinstance(argument, keras.KerasTensor)
            for argument in operation._inbound_nodes[-1].arguments.args
        ]


def test_nodes_by_depth(model):
    x = keras.Input((3,))
    add = keras.layers.Add()
    graph = keras.Function(x, add([keras.layers.Dense(3)(x), keras.ops.ones((1, 3))]))
    assert graph._nodes_by_depth
    assert _keras.layers_beside_constants(graph) == [add]
    assert _keras.layers_beside_constants(model) == []


def test_weights_beside_symbols():
    x, weight = keras.KerasTensor((2, 3)), keras.Variable(np.ones((2, 3)))
    before = dict(vars(keras.Variable))
    with _keras.weights_beside_symbols():
        for made in (weight * x, weight + x, weight / x, weight - x, weight**x):
            arguments = _keras.operation_of(made)._inbound_nodes[-1].arguments.args
            assert arguments[0] is weight and arguments[1] is x
        assert keras.ops.convert_to_numpy(weight * 2.0).sum() == 12
    assert dict(vars(keras.Variable)) == before


def test_flatten_layers_and_outbound_nodes():
    model = Subclass()
    x = keras.Input((4,))
    model(x)
    layers = list(model._flatten_layers())
    assert {layer.name for layer in layers} >= {"first", "last"}

    def uses():
        return [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]

    before = uses()
    with _keras.unused(model):
        model.call(x)
        assert uses() != before
    assert uses() == before


def test_module_of_call(model):
    assert not _keras.has_own_call(model)
    assert not _keras.has_own_call(keras.Sequential())
    assert _keras.has_own_call(Subclass())
    assert _keras.has_own_call(LayerScale(0.5, 4))


def test_what_applications_bring_along_is_explained():
    x = keras.Input((3, 4))
    last = keras.layers.Dense(2)
    scaled = keras.Model(x, last(keras.layers.Flatten()(LayerScale(0.5, 4)(x))))
    same = keras.Model(x, last(keras.layers.Flatten()(x * 0.5)))
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    for name in ("gradient", "lrp_gamma"):
        expected = tfrnnx.explain(same, values, name, target=1)
        np.testing.assert_allclose(tfrnnx.explain(scaled, values, name, target=1), expected, 1e-5)


def test_modules_of_classes():
    assert _keras.is_of_keras(keras.layers.Dense)
    assert _keras.is_of_keras(type(_keras.operation_of(keras.KerasTensor((2,)) + 1)))
    assert not _keras.is_of_keras(Subclass)


def test_build_shapes_dict():
    model = Subclass()
    assert _keras.build_shapes(model) == {}
    model(keras.ops.ones((2, 4)))
    assert [tuple(shape)[1:] for shape in _keras.build_shapes(model).values()] == [(4,)]
    assert _keras.build_shapes(model) == model._build_shapes_dict


def test_names_of_attention_layers():
    x = keras.ops.ones((1, 3, 4))
    for layer in (keras.layers.MultiHeadAttention(2, 2), keras.layers.GroupQueryAttention(2, 2, 1)):
        layer(x, x)
        dense = _keras.projections_of(layer)
        assert {name: dense[name] for name in ("query", "key", "value", "output")} == {
            "query": layer._query_dense,
            "key": layer._key_dense,
            "value": layer._value_dense,
            "output": layer._output_dense,
        }
        assert dense["gate"] is None and dense["query"].kernel.shape == (4, 2, 2)
        mask = _keras.attention_mask_of(layer, x, x, None, None, None, None, True)
        assert keras.ops.convert_to_numpy(mask)[0].sum() == 6
        assert _keras.attention_mask_of(layer, x, x, None, None, None, None, False) is None
    if "use_gate" in layer.get_config():  # since Keras 3.14
        gated = keras.layers.MultiHeadAttention(2, 2, use_gate=True)
        gated(x, x)
        assert _keras.projections_of(gated)["gate"] is gated._gate_dense


ALLOWED = {  # of others than Keras and TensorFlow, or no private names
    "_fields",  # of named tuples
    "_asdict",
    "_replace",
    "_getframe",  # of sys
    "_is_gcs_disabled",  # of TensorFlow Datasets, in one place
}


def test_call_signature():
    """Masks are handed on by the names of a layer's arguments."""
    layer, x = keras.layers.GRU(2), keras.ops.ones((1, 3, 2))
    assert {"mask", "initial_state"} <= set(_keras.argument_names(layer))
    given = _keras.arguments_of(layer, (x,), {"mask": None, "another": 1})
    assert list(given) == ["sequences", "mask"] and given["sequences"] is x


def test_module_of_compute_mask():
    class Own(keras.layers.Layer):
        def compute_mask(self, inputs, mask=None):
            return inputs > 0

    assert _keras.makes_masks(Own()) and _keras.makes_masks(keras.layers.Masking())
    assert not _keras.makes_masks(keras.layers.Dense(2))


def test_gradient_registry():
    """What TensorFlow keeps of custom gradients can be found and taken out."""

    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda g: 2 * g

    def loop(x):
        return tf.while_loop(lambda x: x < 9.0, lambda x: (doubled(x),), (doubled(x),))[0]

    function = tf.function(loop).get_concrete_function(tf.TensorSpec([]))
    names = _keras.custom_gradients_of(function)
    registry = ops.gradient_registry._registry
    assert len(names) == 2 and all(name in registry for name in names)
    _keras.forget_gradients(names)
    assert not any(name in registry for name in names)


def test_no_private_name_is_used_elsewhere():
    root = Path(tfrnnx.__file__).parent
    for path in root.rglob("*.py"):
        if path.name == "_keras.py":
            continue
        tree = ast.parse(path.read_text())
        own = {
            node.attr if isinstance(node, ast.Attribute) else node.name
            for node in ast.walk(tree)
            if (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
            or isinstance(node, ast.FunctionDef)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                known = own | ALLOWED
                assert not private or of_itself or node.attr in known, f"{path}: {node.attr}"
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith(("keras.src", "tensorflow.python")), path
