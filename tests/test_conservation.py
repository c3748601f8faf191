"""Deep Taylor decomposition hands down all of max(0, logit) to the pixels, and nothing else."""

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from networks import ARCHITECTURES, SHAPE, WIDTHS, every_class, redraw, samples, small

import tfrnnx
from tfrnnx.networks.losses import PseudoClassCrossentropy

# What the issue asks of float32; float64 must do as much better as it is finer.
TOLERANCE = {"float32": 1e-4, "float64": 1e-11}


def assert_conserves(explainer, x, dtype):
    """Explain every class of every sample; return the share of positive logits."""
    x, targets = every_class(x.astype(dtype), explainer.classes)
    explained = explainer.explain(x, targets)
    relevance = np.float64(explained.relevance).reshape(len(x), -1)
    logit = np.take_along_axis(np.float64(explained.logits), targets[:, None], axis=1)[:, 0]
    assert (relevance >= 0).all()
    error = np.abs(relevance.sum(axis=1) - np.maximum(0, logit))
    assert (error < TOLERANCE[dtype] * np.maximum(1, logit)).all()
    # A small logit hides nothing either: there is nothing but rounding to lose it to.
    assert (error[logit > 0] < TOLERANCE[dtype] * logit[logit > 0]).all()
    assert not relevance[logit <= 0].any()
    return (logit > 0).mean()


def options(arch):
    """What to build a small network of this architecture with."""
    return st.fixed_dictionaries(
        {
            "input_shape": st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 6)),
            "classes": st.integers(1, 4),
            "unroll": st.booleans(),
        }
        | {name: st.integers(1, 9) for name in WIDTHS[arch]}
    )


LOW, HIGH = st.floats(-5, -0.01), st.floats(0.01, 5)
BOXES = (
    st.just((-1.0, 1.0))
    | st.tuples(LOW, HIGH)
    | st.tuples(st.just(0.0), HIGH)
    | st.tuples(LOW, st.just(0.0))
)
DRAWS = st.lists(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32 - 1),
            "scale": st.floats(0.1, 5),
            "tilt": st.floats(-0.2, 0.8),
        }
    ),
    min_size=4,  # new weights cost little, a new network is traced anew
    max_size=4,
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_random_networks(arch, dtype):
    positive = []

    @settings(max_examples=6, phases=[Phase.generate])  # to shrink an example takes minutes
    @given(options(arch), BOXES, DRAWS)
    def conserves(options, box, draws):
        low, high = box
        model = tfrnnx.build(arch, dtype=dtype, **options)
        explainer = tfrnnx.Explainer(model, "dtd", low=low, high=high)
        for draw in draws:
            redraw(model, **draw)
            x = samples(3, options["input_shape"], draw["seed"], low, high)
            positive.append(assert_conserves(explainer, x, dtype))

    conserves()
    assert np.mean(positive) > 0.1, "nearly all logits are negative: nothing was shown"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_thesis_sizes(arch, dtype):
    model = tfrnnx.build(arch, dtype=dtype)
    explainer = tfrnnx.Explainer(model, "dtd")
    x = samples(8, (12, 28, 7))
    positive = [assert_conserves(explainer, x, dtype)]
    for seed in range(3):
        redraw(model, seed, scale=1.2, tilt=0)
        positive.append(assert_conserves(explainer, x, dtype))
    assert positive[0] > 0 and np.mean(positive) > 0.1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_trained_networks(arch):
    keras.utils.set_random_seed(1)
    model = small(arch, dtype="float32")
    model.compile(keras.optimizers.Adam(0.01), PseudoClassCrossentropy(), jit_compile=False)
    x = samples(64, dtype="float32")
    before = [value.copy() for value in model.get_weights()]
    model.fit(x, np.arange(64) % 4, batch_size=16, epochs=2, verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    assert assert_conserves(tfrnnx.Explainer(model, "dtd"), x[:8], "float32") > 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_images_at_the_corners_of_the_box(arch):
    """Black and white images: many terms of z^B vanish there, up to whole denominators."""
    model = small(arch, dtype="float32")
    for low, high in [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0)]:
        explainer = tfrnnx.Explainer(model, "dtd", low=low, high=high)
        x = np.stack([np.full(SHAPE, low), np.full(SHAPE, high), np.zeros(SHAPE)])
        assert_conserves(explainer, x, "float32")
