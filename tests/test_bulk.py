"""Arrays that need not fit in memory: mapped files in, `out=` for what is found."""

import mmap
import os
import resource
from pathlib import Path

import keras
import numpy as np
import pytest
from disks import small_disk
from networks import SHAPE, samples, small

import tfrnnx
from tfrnnx.errors import InputError, NotFiniteError, OutputError
from tfrnnx.explaining import bulk


@pytest.fixture(scope="module")
def model():
    return small("rlstm", seed=10)


@pytest.fixture(scope="module")
def x():
    return samples(10)


@pytest.fixture(scope="module")
def relevance(model, x):
    return tfrnnx.explain(model, x, "dtd", batch_size=4, verbose=0)


def mapped(path, x, mode="r"):
    np.save(path, x)
    return np.load(path, mmap_mode=mode)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_what_is_written_is_what_is_returned(model, x, relevance, tmp_path, mode):
    there = mapped(tmp_path / "x.npy", x, mode)
    if mode == "c":  # changes that are in memory alone
        there[0] = there[1]
        there[0] = x[0]
    for out in (
        np.empty_like(x),
        np.lib.format.open_memmap(tmp_path / "o.npy", "w+", x.dtype, x.shape),
    ):
        found = tfrnnx.explain(model, there, "dtd", batch_size=4, out=out, verbose=0)
        assert found is out
        np.testing.assert_array_equal(found, relevance)
    np.testing.assert_array_equal(there, x)
    found = tfrnnx.explain(model, there, "dtd", batch_size=4, out=tmp_path / "p.npy", verbose=0)
    assert isinstance(found, np.memmap) and found.dtype == relevance.dtype
    np.testing.assert_array_equal(found, relevance)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), relevance)


def test_all_that_is_found_beside_relevance_is_returned(model, x, tmp_path):
    given = (model, x, "lrp_epsilon", "all")
    expected = tfrnnx.explain(*given, layers=["logits"], batch_size=4, verbose=0)
    found = tfrnnx.explain(
        *given, layers=["logits"], batch_size=4, out=str(tmp_path / "o.npy"), verbose=0
    )
    assert found.relevance.shape == (10, *expected.logits.shape[1:], *SHAPE)
    for one, other in (
        (found.relevance, expected.relevance),
        (found.logits, expected.logits),
        (found.target, expected.target),
        (found.layers["logits"], expected.layers["logits"]),
    ):
        np.testing.assert_array_equal(one, other)
    none = tfrnnx.explain(model, x[:0], "dtd", out=tmp_path / "none.npy")
    assert none.shape == (0, *SHAPE)


def test_several_inputs(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((4, 2), name="b")
    both = keras.layers.Concatenate()([keras.layers.Dense(3)(a), keras.layers.GRU(3)(b)])
    model = keras.Model([a, b], keras.layers.Dense(2)(both))
    x = {"b": np.ones((5, 4, 2), np.float32), "a": np.ones((5, 3), np.float32)}
    expected = tfrnnx.explain(model, x, "lrp_epsilon", batch_size=2, verbose=0)
    given = (model, x, "lrp_epsilon")
    out = {"a": tmp_path / "a.npy", "b": np.empty((5, 4, 2), np.float16)}
    found = tfrnnx.explain(*given, batch_size=2, out=out, verbose=0)
    assert found["b"] is out["b"] and set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["a"], expected["a"])
    np.testing.assert_allclose(found["b"], expected["b"], rtol=1e-3)
    in_order = [np.empty_like(x["a"]), np.empty_like(x["b"])]
    found = tfrnnx.explain(*given, batch_size=2, out=in_order, verbose=0)
    np.testing.assert_array_equal(found[1], expected["b"])
    with pytest.raises(InputError, match="out for 2 inputs: .* a, b. Received: ndarray"):
        tfrnnx.explain(*given, out=np.empty((5, 3)))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda x: np.empty(x.shape, int), "writable array of floats.* Received: array of int64"),
        (lambda x: np.broadcast_to(x[0], x.shape), "Received: read-only array of float64"),
        (lambda x: np.empty((10, 3)), r"out of shape \(10, .* Received: shape \(10, 3\)"),
        (lambda x: np.empty(x[1:].shape), r"out of shape \(10, .* Received: shape \(9,"),
        (lambda x: "relevance.npz", "path of a .npy file. Received: relevance.npz"),
        (lambda x: x.tolist(), "path of a .npy file. Received: list"),
    ],
)
def test_places_that_do_not_fit(model, x, out, message):
    with pytest.raises(InputError, match=message):
        tfrnnx.explain(model, x, "dtd", out=out(x), verbose=0)


def test_what_has_no_shape_beside_it(model, x):
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(x).batch(2)
    with pytest.raises(InputError, match="no out beside a dataset"):
        tfrnnx.explain(model, batches, "dtd", out=np.empty_like(x))
    ragged = tf.RaggedTensor.from_row_lengths(np.ones((5, 2)), [3, 2])
    masks = keras.Sequential([keras.Input((None, 2)), keras.layers.GRU(3), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="one shape beside out. Received: a RaggedTensor"):
        tfrnnx.explain(masks, ragged, "lrp_epsilon", out=np.empty((2, 3, 2)))


def test_relevance_that_is_too_large_for_float16():
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False)(x))
    for weight, fits in ((6e4, True), (7e4, False)):
        model.set_weights([np.full((1, 1), weight)])
        out = np.zeros((3, 1), np.float16)
        if fits:
            tfrnnx.explain(model, np.ones((3, 1)), "gradient", out=out)
            assert (out == np.float16(weight)).all()
            continue
        with pytest.raises(NotFiniteError, match="up to 65504, for float16. Received: 70000; keep"):
            tfrnnx.explain(model, np.ones((3, 1)), "gradient", out=out)


def test_a_mistake_in_the_last_sample_leaves_nothing(model, x, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "_AT_ONCE", x[0].nbytes * 3)  # looked through in four parts
    for place, value, message in ((-1, np.nan, "NaN or Inf"), (4, 7.0, r"values in \[.*, 7\]")):
        bad = x.copy()
        bad[place, 0, 0] = value
        there = mapped(tmp_path / "x.npy", bad)
        with pytest.raises(InputError, match=message):
            tfrnnx.explain(model, there, "dtd", out=tmp_path / "o.npy", verbose=0)
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_full_disk(model, x, tmp_path):
    with small_disk(tmp_path / "disk", "16k") as disk:
        many = np.repeat(x, 40, axis=0)
        with pytest.raises(OutputError, match="write .*o.npy. Received: No space left"):
            tfrnnx.explain(model, many, "dtd", out=disk / "o.npy", verbose=0)
        assert not os.listdir(disk)


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A sparse file, looked through as inputs are, of which little may stay in memory."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        pytest.skip("this system does not take memory back")
    there = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (200, 2**18))
    there[-1, -1] = 3
    before = resident()
    assert bulk.bounds(there) == (0, 3)
    assert resident() - before < 100  # of 200 MB
    keep = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert keep.sum() == 3 and resident() - before > 150
    bulk.release(keep[3:5])
    assert resident() - before < 100


def resident():
    """MB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
