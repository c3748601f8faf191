import json
import shutil
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from tfrnnx.data import ImageSet, datasets, load, preparation, sets, tfds_sets
from tfrnnx.errors import DataError, UnknownNameError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = [
    f"{split}-{kind}-ubyte.gz"
    for split in ("t10k", "train")
    for kind in ("images-idx3", "labels-idx1")
]
# From the README beside the files.
MNIST_COUNTS = [
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
]

needs_files = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"the official gz files are not in {SHARED}"
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise socket.gaierror("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def tfds_dir(tmp_path, monkeypatch):
    """TFDS's usual directory, which does not exist yet."""
    folder = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """TFDS's directory with MNIST, prepared once from the real files, and what `load` returned."""
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        return folder, load("mnist", SHARED)


@pytest.fixture
def no_preparation(monkeypatch):
    def refuse(*args):
        raise AssertionError("TFDS must not be asked to prepare anything")

    monkeypatch.setattr(preparation, "prepare", refuse)


def counts(image_set):
    return [np.bincount(s.labels).tolist() for s in (image_set.train, image_set.test)]


def assert_well_formed(image_set):
    for split in (image_set.train, image_set.test):
        assert split.images.shape == (len(split), 28, 28) and split.images.dtype == np.uint8
        assert split.labels.shape == (len(split),) and split.labels.dtype == np.int64
        assert set(split.labels) == set(range(len(image_set.class_names)))
        assert (split.images.min(), split.images.max()) == (0, 255)


def equal(left, right):
    return all(
        np.array_equal(getattr(getattr(left, split), part), getattr(getattr(right, split), part))
        for split in ("train", "test")
        for part in ("images", "labels")
    )


def names_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


def pseudo_files(folder):
    """The four names with other contents."""
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"not the official file")
    return folder


# ---- registry and digits


def test_names_and_unknown_names():
    names = ["digits", "mnist", "fashion_mnist", "state", "freqshapes", "seqcomb_uv", "seqcomb_mv"]
    assert datasets.names() == [*names, "lowvar", "addition"]
    with pytest.raises(UnknownNameError, match="one of digits, mnist, .*Received: 'cifar'"):
        load("cifar")


def test_a_new_set_is_one_registered_function(monkeypatch):
    monkeypatch.setattr(sets, "datasets", type(datasets)("data set"))
    digits = load_digits = datasets["digits"]
    sets.datasets.register("again")(load_digits)
    assert equal(sets.load("again"), digits(None))


def test_digits():
    digits = load("digits", data_dir="/no/such/folder")
    assert isinstance(digits, ImageSet) and digits.name == "digits"
    assert digits.class_names == tuple("0123456789")
    assert_well_formed(digits)
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    for part in counts(digits):
        assert max(part) - min(part) <= 9  # stratified
    assert equal(digits, load("digits"))


def test_digits_are_the_originals_scaled_up():
    from sklearn.datasets import load_digits

    digits = load("digits")
    scaled = np.concatenate([digits.train.images, digits.test.images]) / (255 / 16)
    # 28 = 3.5 * 8: averages over blocks of 7x7 are averages over 2x2 original pixels, nearly.
    blocks = scaled.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4))
    small = load_digits().images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    distances = ((blocks[:50, None] - small[None]) ** 2).mean(axis=(2, 3))
    labels = load_digits().target[distances.argmin(axis=1)]
    np.testing.assert_array_equal(labels, digits.train.labels[:50])
    assert distances.min(axis=1).max() < 0.5


# ---- the real files


@pytest.mark.slow
@needs_files
def test_mnist_from_gz_files(real):
    folder, mnist = real
    assert_well_formed(mnist)
    assert counts(mnist) == MNIST_COUNTS
    assert mnist.class_names == tuple("0123456789")
    assert "mnist" in names_in(folder) and not list(folder.glob(".tfrnnx-*"))


@pytest.mark.slow
@needs_files
def test_fashion_mnist_in_the_same_place_is_not_mnist(real, monkeypatch):
    # Left alone, TFDS takes MNIST's extracted files, which have the same names.
    monkeypatch.setenv("TFDS_DATA_DIR", str(real[0]))
    before = names_in(SHARED)
    fashion = load("fashion_mnist", SHARED / "fashion-mnist")
    assert_well_formed(fashion)
    assert counts(fashion) == [[6000] * 10, [1000] * 10]
    assert fashion.class_names[:2] == ("T-shirt/top", "Trouser")
    assert fashion.train.images.mean() == pytest.approx(72.94, abs=0.01)
    assert names_in(SHARED) == before


@needs_files
def test_a_tfds_folder_is_read_in_the_same_order(real, tfds_dir, no_preparation):
    folder, mnist = real
    assert equal(mnist, load("mnist", folder))


@needs_files
@pytest.mark.parametrize("damage", ["json", "missing", "truncated"])
def test_a_damaged_tfds_folder(real, tmp_path, damage):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    for path in (real[0] / "mnist" / "3.0.1").iterdir():
        (folder / path.name).write_bytes(path.read_bytes()[:100_000])
    if damage == "json":
        (folder / "dataset_info.json").write_text("{")
    if damage == "missing":
        (folder / "mnist-train.tfrecord-00000-of-00001").unlink()
    with pytest.raises(DataError, match="mnist is damaged, remove it") as caught:
        load("mnist", tmp_path)
    assert "\n" not in str(caught.value)


@needs_files
@pytest.mark.parametrize("subfolder", ["", "fashion-mnist", "fashion_mnist"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "folder"])
def test_a_corrupt_gz_file(tfds_dir, tmp_path, subfolder, damage):
    folder = tmp_path / "files" / subfolder
    shutil.copytree(SHARED / "fashion-mnist", folder)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-1])
        message = "Expected: 5148 bytes, sha256 67da17c7.* Received: 5147 bytes, sha256 "
    elif damage == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        message = "Expected: 5148 bytes, sha256 67da17c7.* Received: 5148 bytes, sha256 "
    else:
        path.mkdir()
        message = "cannot be read: Is a directory"
    with pytest.raises(DataError, match=f"{path.name} .*{message}"):
        load("fashion_mnist", tmp_path / "files")
    assert not tfds_dir.exists()


@needs_files
def test_the_files_of_the_other_set(tfds_dir):
    with pytest.raises(DataError, match="Expected: 4422102 bytes.* Received: 1648877 bytes"):
        load("fashion_mnist", SHARED / "mnist")


# ---- what a user can get wrong without having the files


@pytest.mark.parametrize("name, subfolder", [("mnist", ""), ("fashion_mnist", "fashion-mnist")])
def test_missing_gz_files(tfds_dir, tmp_path, name, subfolder):
    folder = pseudo_files(tmp_path / "files" / subfolder)
    (folder / NAMES[0]).unlink()
    (folder / NAMES[3]).unlink()
    expected = f"must hold {', '.join(NAMES)}. Received only: {NAMES[1]}, {NAMES[2]}$"
    with pytest.raises(DataError, match=expected):
        load(name, tmp_path / "files")
    assert not tfds_dir.exists()


def test_gz_files_are_checked_even_if_the_set_is_prepared(tfds_dir, tmp_path):
    version = tfds_dir / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match="corrupt or not the official file"):
        load("mnist", pseudo_files(tmp_path / "files"))


def test_data_dir_is_no_folder(tfds_dir, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(DataError, match=f"must be an existing folder. Received: {path}"):
            load("mnist", path)


def test_data_dir_holds_neither_kind(tfds_dir, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    with pytest.raises(DataError, match=f"Received: {folder}, which holds nothing"):
        load("mnist", folder)
    for number in range(12):
        (folder / f"{number:02}.jpg").touch()
    with pytest.raises(DataError, match=r"mnist/3.0.1 or hold .*07.jpg, \.\.\.$"):
        load("mnist", str(folder))
    assert not tfds_dir.exists()


def test_neither_files_nor_network(tfds_dir, no_preparation):
    with pytest.raises(DataError) as caught:
        load("mnist")
    assert str(caught.value) == (
        f"mnist is neither in {tfds_dir} nor downloadable (no connection to "
        f"storage.googleapis.com, ConnectionError): put the official files {', '.join(NAMES)} into "
        "a folder and pass it as data_dir="
    )
    assert not tfds_dir.exists()


def test_a_name_server_that_does_not_answer(monkeypatch):
    over = threading.Event()

    def hang(*args, **kwargs):
        over.wait(60)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    reason = preparation.why_unreachable("https://example.org/file.gz", seconds=0.1)
    over.set()
    assert reason == "no answer from example.org within 0.1 s"


def test_with_a_network_tfds_downloads(tfds_dir, monkeypatch):
    asked = []
    monkeypatch.setattr(preparation, "why_unreachable", asked.append)
    monkeypatch.setattr(preparation, "prepare", lambda *args: asked.append(args))
    monkeypatch.setattr(tfds_sets, "_read", lambda builder_class, folder: (builder_class, folder))
    builder_class, folder = datasets["mnist"](None)
    assert folder == tfds_dir and builder_class.name == "mnist"
    assert asked == [
        f"https://storage.googleapis.com/cvdf-datasets/mnist/{NAMES[0]}",
        (builder_class, tfds_dir, None),
    ]


def test_a_foreign_folder_in_the_place_of_the_set(tfds_dir, monkeypatch):
    (tfds_dir / "mnist" / "3.0.1").mkdir(parents=True)
    with pytest.raises(DataError, match="exists but is not a set that TFDS prepared"):
        load("mnist")


# ---- preparing, with a builder that takes no time


class FakeBuilder:
    name = "fake"
    VERSION = "1.0.0"
    runs: list[Path]

    def __init__(self, data_dir):
        self.folder = Path(data_dir) / self.name / self.VERSION

    def download_and_prepare(self, download_config):
        assert not download_config.try_download_gcs
        self.runs.append(self.folder)
        print("what TFDS says")
        self.folder.mkdir(parents=True)
        (self.folder / "data").touch()
        self.work()
        (self.folder / "dataset_info.json").write_text(json.dumps({}))

    def work(self):
        pass


def fake(work=lambda self: None):
    return type("Fake", (FakeBuilder,), {"runs": [], "work": work})


PREPARED = ["1.0.0", "data", "dataset_info.json", "fake"]


def test_preparing_leaves_the_set_and_nothing_else(tmp_path, capsys):
    leftover = tmp_path / ".tfrnnx-fake-killed"
    leftover.mkdir()
    (leftover / "data").touch()
    builder = fake()
    preparation.prepare(builder, tmp_path, gz_folder=None)
    assert names_in(tmp_path) == PREPARED
    assert capsys.readouterr().out == ""
    preparation.prepare(builder, tmp_path, gz_folder=None)
    assert len(builder.runs) == 1


@pytest.mark.parametrize(
    "error", [OSError("disk full"), AssertionError("a\nb"), KeyboardInterrupt()]
)
def test_a_failed_preparation_leaves_nothing(tmp_path, error):
    def fail(self):
        raise error

    expected = type(error) if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected) as caught:
        preparation.prepare(fake(fail), tmp_path, gz_folder=None)
    if expected is DataError:
        text = str(error).replace("\n", " ")
        assert str(caught.value) == f"TFDS could not prepare fake: {text}"
        assert caught.value.__cause__ is error
    assert names_in(tmp_path) == []


def test_two_at_once_prepare_once(tmp_path):
    started, go_on = threading.Event(), threading.Event()

    def wait(self):
        started.set()
        assert go_on.wait(60)

    builder = fake(wait)
    threads = [
        threading.Thread(target=preparation.prepare, args=(builder, tmp_path, None))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(builder.runs) == 1
    assert names_in(tmp_path) == PREPARED


def test_without_locks_the_faster_one_wins(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*args):
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)

    def be_overtaken(self):
        preparation.prepare(fake(), tmp_path, gz_folder=None)

    other = tmp_path / ".tfrnnx-fake-other"  # perhaps alive, so it stays
    other.mkdir()
    preparation.prepare(fake(be_overtaken), tmp_path, gz_folder=None)
    other.rmdir()
    assert names_in(tmp_path) == PREPARED


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Not a directory.*set TFDS_DATA_DIR to another folder"):
        preparation.prepare(fake(), tmp_path / "file" / "tfds", gz_folder=None)
