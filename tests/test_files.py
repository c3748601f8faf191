import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from disks import small_disk

from tfrnnx.errors import OutputError
from tfrnnx.storage.files import atomic, is_partial, locked, remove_partials, write_json


def make(path, kind, content):
    """Write a file, or a folder with a file."""
    if kind == "folder":
        path.mkdir()
        path = path / "inside"
    path.write_text(content)


def content(path):
    """What `make` wrote, and that there is nothing else beside it."""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    if path.is_dir():
        (path,) = path.iterdir()
    return path.read_text()


@pytest.fixture(params=["file", "folder"])
def kind(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "parent" / "target.txt"


@pytest.fixture
def old(path, kind):
    path.parent.mkdir()
    make(path, kind, "old")


def test_success(path, kind):
    with atomic(path) as fresh:
        assert fresh.name == path.name  # Keras and matplotlib go by the suffix
        make(fresh, kind, "new")
        assert not path.exists()
    assert content(path) == "new"


@pytest.mark.usefixtures("old")
def test_success_replaces(path, kind):
    with atomic(path) as fresh:
        make(fresh, kind, "new")
        assert (path / "inside" if kind == "folder" else path).read_text() == "old"
    assert content(path) == "new"


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_passes_and_leaves_what_was_there(path, kind, exception):
    with pytest.raises(exception), atomic(path) as fresh:
        make(fresh, kind, "new")
        raise exception
    assert content(path) == "old"


@pytest.mark.usefixtures("old")
def test_a_body_that_writes_nothing_leaves_what_was_there(path):
    with pytest.raises(OutputError, match="Expected to write"), atomic(path):
        pass
    assert content(path) == "old"


@pytest.mark.usefixtures("old")
def test_an_interruption_between_the_renames_leaves_what_was_there(path, kind, monkeypatch):
    def interrupt(self, target):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), atomic(path) as fresh:
        make(fresh, kind, "new")
        monkeypatch.setattr(type(path), "replace", interrupt)
    assert content(path) == "old"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "x"), r"No space left on device; free some space, or choose another place"),
        (PermissionError(13, "x"), r"Permission denied; choose a place that you may write to"),
        (OSError("a library's own words\nand more"), "a library's own words"),
        (OSError(), "OSError"),
        (tf.errors.ResourceExhaustedError(None, None, "disk full\nline"), "disk full"),
    ],
)
def test_what_the_system_refuses_is_told_in_one_line(path, error, message):
    with pytest.raises(OutputError, match=rf"^Expected to write {path}\. Received: {message}$"):
        with atomic(path):
            raise error
    assert not list(path.parent.iterdir())


def test_an_error_of_a_file_within_names_that_file(path):
    inner = path.with_name("inner.txt")
    with pytest.raises(OutputError, match=rf"^Expected to write {inner}\."):
        with atomic(path) as fresh, atomic(inner):
            fresh.write_text("new")
            raise OSError(28, "x")
    assert not list(path.parent.iterdir())


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, reason in (("file/new", "File exists"), ("file/new/er", "Not a directory")):
        with pytest.raises(OutputError, match=rf"{name}\. Received: {reason}; .*choose another"):
            write_json(tmp_path / name, {})
    assert content(tmp_path / "file") == "x"


def test_a_folder_does_not_replace_a_file(path):
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(OutputError, match="Not a directory"), atomic(path) as fresh:
        make(fresh, "folder", "new")
    assert content(path) == "old"


def test_a_folder_that_may_not_be_written(tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(0o500)
    if os.geteuid() == 0:  # whom permissions do not bind
        if not os.path.isdir("/proc/self"):
            pytest.skip("root may write everywhere, and there is no /proc")
        folder = type(folder)("/proc/self")
    with pytest.raises(OutputError, match=rf"{folder}/new\.json\. Received: .*; choose"):
        write_json(folder / "new.json", {})


def test_a_full_disk(tmp_path):
    with small_disk(tmp_path / "small", "64k") as folder:
        write_json(folder / "values.json", "old")
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            write_json(folder / "values.json", "x" * 100_000)
        assert content(folder / "values.json") == '"old"\n'
        with pytest.raises(OutputError), atomic(folder / "variables") as fresh:
            tf.train.Checkpoint(v=tf.Variable(tf.zeros(100_000))).write(str(fresh))
        assert content(folder / "values.json") == '"old"\n'


def test_what_a_killed_process_leaves_is_recognized_and_removed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from tfrnnx.storage.files import atomic\n"
        "with atomic(Path(sys.argv[1])) as fresh:\n"
        "    fresh.write_text('half'); time.sleep(60)\n"
    )
    target = tmp_path / "target.txt"
    target.write_text("old")
    process = subprocess.Popen([sys.executable, "-c", script, target], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.glob("*/target.txt")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (partial,) = (path for path in tmp_path.iterdir() if path != target)
    assert is_partial(partial) and not is_partial(target)
    remove_partials(tmp_path)
    assert content(target) == "old"


def test_write_json(tmp_path):
    write_json(tmp_path / "values.json", {"a": [1, "ä"]})
    assert content(tmp_path / "values.json") == '{\n  "a": [\n    1,\n    "\\u00e4"\n  ]\n}\n'


HOLDER = """
import sys, time
from pathlib import Path
from tfrnnx.storage.files import locked

with locked(Path(sys.argv[1]), lambda: None):
    print("locked", flush=True)
    time.sleep(600)
"""


def taken():
    raise BlockingIOError("taken")


def test_a_lock_ends_with_the_process_that_held_it(tmp_path):
    pytest.importorskip("fcntl")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError, match="taken"), locked(tmp_path, taken):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path, taken) as lock:
            assert lock.held and lock.exclusive
    assert list(tmp_path.iterdir()) == []


def test_without_locks_there_is_no_refusal(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*args):
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path, taken) as first, locked(tmp_path, taken) as second:
        assert not first.held and not second.held
