"""Training on two devices, which are two logical CPUs, in processes of their own."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from programs import fork, run

from tfrnnx.data import ImageSet, LabelledImages, load
from tfrnnx.errors import ConfigError
from tfrnnx.networks import training
from tfrnnx.networks.optimizers import ClippedAdam, LossScaling
from tfrnnx.networks.runs import Run, TrainConfig
from tfrnnx.networks.training import check, strategies, train
from tfrnnx.storage.models import load_model

pytestmark = pytest.mark.filterwarnings(  # in Keras, on saving
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

# 271 images to train on and 31 to validate: of an epoch's last batch of 15 two devices get 8 and
# 7, of the last validation batch of 1 one device gets nothing. Without dropout, for devices draw
# masks of their own parts.
IMAGES = 302
NONE = -1  # no device
CONFIG = TrainConfig("rlstm", epochs=2, dropout=0.0).resolved(IMAGES)


def digits():
    whole = load("digits")
    parts = (
        LabelledImages(part.images[:n], part.labels[:n])
        for part, n in ((whole.train, IMAGES), (whole.test, 60))
    )
    return ImageSet("digits", *parts, whole.class_names)


def trained(folder, config=CONFIG, strategy=None, interrupted=False):
    """Train in a folder, for all epochs that are left or, interrupted, for one."""

    def interrupt(callback, epoch, logs=None):
        after_epoch(callback, epoch, logs)
        raise KeyboardInterrupt

    run = Run(folder)
    run.claim(config)
    after_epoch = training._KeepState.on_epoch_end
    with pytest.MonkeyPatch.context() as patch:
        if interrupted:
            patch.setattr(training._KeepState, "on_epoch_end", interrupt)
        try:
            train(config, digits(), run, 0, strategy)
        except KeyboardInterrupt:
            assert interrupted
    return run


def two_devices():
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = strategies["mirrored"]()
    assert strategy.num_replicas_in_sync == 2
    return strategy


def train_on_two(folder, interrupted=False):
    trained(folder, strategy=two_devices(), interrupted=interrupted)


def assert_same_training(run, expected):
    # Sums of two parts round otherwise than one: weights came to differ by 5e-7 (in float64 by
    # 3e-15), losses by 2e-7. Where parts were clipped before they were summed, weights differed by
    # 2e-3; where samples of an uneven last batch did not count alike, by 1e-3.
    for actual, wanted in zip(run.read_history(), expected.read_history(), strict=True):
        for key in set(wanted) - {"seconds"}:
            assert actual[key] == pytest.approx(wanted[key], abs=1e-5)
    models = (load_model(run.model), load_model(expected.model))
    for actual, wanted in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def on_one(tmp_path_factory):
    """A run on one device, in one go."""
    return trained(tmp_path_factory.mktemp("one"))


def test_two_devices_train_as_one_does(on_one, tmp_path):
    assert fork(train_on_two, tmp_path) == 0
    assert_same_training(Run(tmp_path), on_one)


@pytest.mark.slow
def test_what_one_device_began_two_go_on_with(on_one, tmp_path):
    trained(tmp_path, interrupted=True)
    assert fork(train_on_two, tmp_path) == 0
    assert_same_training(Run(tmp_path), on_one)


@pytest.mark.slow
def test_what_two_devices_began_one_goes_on_with(on_one, tmp_path):
    assert fork(train_on_two, tmp_path, True) == 0
    assert len(Run(tmp_path).read_history()) == 1
    assert_same_training(trained(tmp_path), on_one)


def train_with_dropout(folder):
    config = replace(CONFIG, dropout=0.2, precision="mixed_float16")
    strategy = two_devices()
    whole = trained(folder / "whole", config, strategy)
    trained(folder / "parts", config, strategy, interrupted=True)
    parts = trained(folder / "parts", config, strategy)
    assert_same_training(parts, whole)


@pytest.mark.slow
def test_with_dropout_and_scaled_losses_two_devices_go_on_as_if_not_interrupted(tmp_path):
    assert fork(train_with_dropout, tmp_path) == 0


def assert_scaled(strategy, infinite):
    """Take a step for which the gradient is infinite on one device, or on none."""
    with strategy.scope():
        weights = keras.Variable([1.0, 2.0])
        optimizer = LossScaling(ClippedAdam(0.1), initial_scale=8.0)
        optimizer.build([weights])

    @tf.function
    def step():
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradient = tf.where(tf.equal(device, infinite), np.inf, 8.0)
        optimizer.apply([gradient * tf.ones(2)], [weights])

    strategy.run(step)
    taken = infinite == NONE
    expected = [0.9, 1.9] if taken else [1.0, 2.0]
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-5)
    assert optimizer.dynamic_scale.numpy() == (8.0 if taken else 4.0)
    assert optimizer.iterations.numpy() == 1
    assert optimizer.inner_optimizer.iterations.numpy() == taken


def scale_losses():
    for strategy in (two_devices(), strategies["none"]()):
        for infinite in (NONE, *range(strategy.num_replicas_in_sync)):
            assert_scaled(strategy, infinite)


def test_a_gradient_that_is_infinite_on_any_device_is_skipped_on_all_and_counted():
    assert fork(scale_losses) == 0


def test_the_norm_that_is_clipped_is_that_of_the_sum():
    weights, expected = keras.Variable([1.0, 2.0]), keras.Variable([1.0, 2.0])
    ours, stock = ClippedAdam(0.1, norm=0.5), keras.optimizers.Adam(0.1, clipnorm=0.5)
    for gradient in ([3.0, 4.0], [0.1, -0.2], [-7.0, 0.0]):
        ours.apply([tf.constant(gradient)], [weights])
        stock.apply([tf.constant(gradient)], [expected])
    np.testing.assert_array_equal(weights, expected)
    again = ClippedAdam.from_config(ours.get_config())
    assert again.norm == 0.5 and again.clipnorm is None


@pytest.mark.parametrize(("batch_size", "fits"), [(32, True), (34, False), (272, False)])
def test_a_batch_that_devices_cannot_share_is_refused(batch_size, fits):
    four = SimpleNamespace(num_replicas_in_sync=4)
    config = replace(CONFIG, batch_size=batch_size)
    if fits:
        check(config, digits(), four)
    else:
        with pytest.raises(ConfigError, match=f"multiple of 4, .* most 271, .*: {batch_size}"):
            check(config, digits(), four)


@pytest.mark.slow
def test_one_device_can_be_mirrored(tmp_path):
    arguments = ("train", "--arch=shallow", "--epochs=1", "--batch_size=101")
    results = [
        run(*arguments, f"--strategy={name}", f"--out={name}", cwd=tmp_path) for name in strategies
    ]
    assert [result.code for result in results] == [0, 0], results[1].err
    assert_same_training(Run(tmp_path / "mirrored"), Run(tmp_path / "none"))
