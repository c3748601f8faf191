"""The checks of `tfrnnx.testing`: what is right passes, and each thing that is broken is named."""

import subprocess
import sys

import keras
import pytest
import tensorflow as tf
from outside.counter import Counter

import tfrnnx
from tfrnnx import primitives
from tfrnnx.layers import Dense, ExplainableLayer, ReLUCell
from tfrnnx.primitives.scope import relevance_scope, scope
from tfrnnx.testing import check_architecture, check_cell, check_layer, check_method
from tfrnnx.testing.__main__ import main

keras.saving.register_keras_serializable("outside")(Counter)


def test_a_cell_from_outside():
    check_cell(Counter(3), (4, 3), xla="none")


def test_it_needs_no_test_framework():
    script = "import sys; sys.modules['pytest'] = None; import tfrnnx; tfrnnx.testing.check_layer"
    subprocess.run([sys.executable, "-c", script], check=True)


@keras.saving.register_keras_serializable("tests")
class Scaled(ExplainableLayer):
    """x times a weight for each feature; what is broken in it, subclasses say."""

    signed_output = True

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],))

    def call(self, x):
        return primitives.affine(x, tf.convert_to_tensor(self.scale), tf.zeros_like(self.scale))


class SaidPositive(Scaled):
    signed_output = False


class Doubled(Scaled):
    def call(self, x):
        return super().call(x) * (1 if scope() is None else 2)


class Halved(Scaled):
    """Hands down half of what arrives: of gradients, or of relevance."""

    of_relevance = False

    def call(self, x):
        active = relevance_scope() if self.of_relevance else scope()

        @tf.custom_gradient
        def halved(z):
            return tf.identity(z), lambda g: g / 2

        return halved(super().call(x)) if active is not None else super().call(x)


class LosingRelevance(Halved):
    of_relevance = True


class Counting(Scaled):
    def build(self, shape):
        super().build(shape)
        self.count = self.add_weight(name="count", shape=(), trainable=False)

    def call(self, x):
        if relevance_scope() is not None:
            self.count.assign_add(1.0)
        return super().call(x)


class Forgetful(Scaled):
    def __init__(self, power=1, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def get_config(self):
        return {**super().get_config(), "power": 2 * self.power}


class Unregistered(Scaled):
    def get_config(self):
        return {**super().get_config(), "power": 1}


@keras.saving.register_keras_serializable("tests")
class ReadingMaskedSteps(ExplainableLayer):
    signed_output = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, x, mask=None):
        return None

    def call(self, x):
        return primitives.weighted_sum(x, lambda x: tf.reduce_mean(x, 1))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (SaidPositive, "expected outputs of '.*' >= 0, as signed_output=False"),
        (Doubled, "explain the logits that the layers' own calls give"),
        (Halved, "expected gradient to be made of tf.GradientTape's gradient"),
        (LosingRelevance, "account for all relevance"),
        (Counting, "to leave weights and outputs as they are"),
        (Forgetful, "to have the same configuration. Received"),
        (Unregistered, "makes anew"),
        (ReadingMaskedSteps, "explain what the layers' own calls give|no relevance|masked steps"),
    ],
)
def test_what_is_broken_is_named(layer, said):
    with pytest.raises(AssertionError, match=said):
        check_layer(layer(), (5, 3), xla="none")


class WrongSizes(ReLUCell):
    def get_initial_state(self, batch_size=None):
        return [keras.ops.zeros((batch_size, 1 + self.recurrent_units), dtype=self.compute_dtype)]


class StatesBelowZero(Counter):
    def step(self, projected, states):
        c_t, _ = super().step(projected, states)
        return c_t, [primitives.add(c_t, c_t, factors=(1.0, -2.0))]


for _cell in (WrongSizes, StatesBelowZero):
    keras.saving.register_keras_serializable("tests")(_cell)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (lambda: WrongSizes(2, 3), "to have the sizes of state_size"),
        (lambda: StatesBelowZero(2), "expected outputs of '.*' >= 0"),
    ],
)
def test_what_is_broken_of_a_cell_is_named(cell, said):
    with pytest.raises(AssertionError, match=said):
        check_cell(cell(), (4, 3), xla="none")


def test_a_broken_method_is_named(monkeypatch):
    """Half of the gradient, under a name of its own."""
    monkeypatch.setattr(tfrnnx.methods, "_entries", dict(tfrnnx.methods._entries))

    @tfrnnx.methods.register("half_gradient")
    def half_gradient():
        return tfrnnx.Method("half_gradient", lambda g, x: g / 2)

    check_method("half_gradient", xla="none")

    @tfrnnx.methods.register("greater_start")
    def greater_start():
        return tfrnnx.Method("greater_start", lambda g, x: 2 * g, rules=_rules())

    with pytest.raises(AssertionError, match="account for all relevance"):
        check_method("greater_start", xla="none")


def _rules():
    return tfrnnx.Rules.of(tfrnnx.rules.epsilon(0.01))


def test_a_broken_architecture_is_named(monkeypatch):
    monkeypatch.setattr(tfrnnx.architectures, "_entries", dict(tfrnnx.architectures._entries))

    @tfrnnx.architectures.register("broken")
    def broken(blocks, x, *, recur=5):
        return Halved()(Dense(recur)(blocks.flatten_steps(x)[:, -1]))

    with pytest.raises(AssertionError, match="broken: expected gradient"):
        check_architecture("broken", xla="none")


def test_the_command(capsys, monkeypatch):
    assert main(["--xla=none", "--only=RepeatVector,method sa"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ok", "ok", "0"]
    from tfrnnx.testing import cases

    monkeypatch.setattr(cases, "LAYERS", {"Broken": [cases.Case(SaidPositive, (3,))]})
    assert main(["--xla=none", "--only=Broken,RepeatVector"]) == 2
    out = capsys.readouterr().out
    assert "FAILED" in out and "signed_output=False" in out
    assert "RepeatVector" in out and "expected a case" in out  # which has none any more


def test_everything_is_in_the_command():
    from tfrnnx.testing.__main__ import all_checks

    names = [name for name, _ in all_checks("none")]
    assert len(names) == len(set(names))
    for name in (*tfrnnx.architectures.names(), *tfrnnx.methods.names()):
        assert any(name in said.split() for said in names)
