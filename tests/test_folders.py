"""A folder that is ours: who may write to it, of which configuration, and with which plugins."""

import json
import threading
import time
from dataclasses import dataclass, field, replace

import pytest

from tfrnnx import plugins
from tfrnnx.errors import ConfigError, OutputError
from tfrnnx.registry import Registry
from tfrnnx.storage.configurations import (
    check_settings,
    digest,
    required,
    setting,
)
from tfrnnx.storage.files import Lock
from tfrnnx.storage.folders import Folder

names: Registry = Registry("name")
names.register("anna")(object())


@dataclass(frozen=True)
class Inner:
    rate: float = setting(0.5, "A rate.", positive=True)


@dataclass(frozen=True)
class Config:
    name: str = required("A name.", choices=names)
    kind: str = setting("a", "A kind.", choices=("a", "b"))
    size: int = setting(1, "A size.", minimum=1, maximum=9)
    inner: Inner = field(default_factory=Inner)


CONFIG = Config("anna")
OTHER = Config("anna", inner=Inner(0.25))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "new" / "folder", "a thing", "thing.json", ("*.part", "parts"))


def files(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.path.rglob("*")}


def fill(folder):
    """Write what belongs to the folder, what does not, and what a killed process left."""
    with folder.opened(CONFIG):
        (folder.path / "parts").mkdir()
        for name in ("1.part", "2.part", "parts/3", "mine.txt"):
            (folder.path / name).write_text("x")
    (folder.path / ".partial-abc").mkdir()


@pytest.mark.parametrize("shared", [False, True])
def test_the_configuration_is_there_as_long_as_the_folder_is_held(folder, shared):
    with folder.opened(CONFIG, shared=shared, facts={"path": "here"}):
        written = json.loads((folder.path / "thing.json").read_text())
    assert {name: written[name] for name in ("name", "kind", "size", "inner", "path")} == {
        "name": "anna",
        "kind": "a",
        "size": 1,
        "inner": {"rate": 0.5},
        "path": "here",
    }
    assert written["plugins"] == {} and "tensorflow" in written["versions"]
    before = files(folder)
    with folder.opened(CONFIG, shared=shared):
        assert files(folder) == before


@pytest.mark.parametrize("shared", [False, True])
def test_another_configuration_is_refused_and_nothing_touched(folder, shared):
    fill(folder)
    before = files(folder)
    with (
        pytest.raises(
            ConfigError, match=r"a thing in .*: inner.rate=0.5 there and 0.25 here; cho"
        ) as told,
        folder.opened(OTHER, shared=shared),
    ):
        pass
    assert told.value.remedies == ("folder", "overwrite")
    assert files(folder) == before


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("config", [CONFIG, OTHER])
def test_overwriting_removes_what_belongs_to_it_and_nothing_else(folder, shared, config):
    fill(folder)
    with folder.opened(config, overwrite=True, shared=shared):
        assert {path.name for path in folder.path.iterdir()} == {"thing.json", "mine.txt"}
        assert folder.read()["inner"] == {"rate": config.inner.rate}


@pytest.mark.parametrize(
    "options", [{}, {"overwrite": True}, {"overwrite": True, "shared": True}], ids=str
)
def test_beside_one_who_holds_it_alone_nothing_is_touched(folder, options):
    pytest.importorskip("fcntl")
    fill(folder)
    with folder.locked():
        before = files(folder)
        for config in (CONFIG, OTHER):
            with (
                pytest.raises(OutputError, match="folder to be in use by no other process"),
                folder.opened(config, **options),
            ):
                pass
        assert files(folder) == before


def test_as_long_as_somebody_works_in_it_nobody_overwrites_it(folder):
    pytest.importorskip("fcntl")
    fill(folder)
    first, second = (folder.opened(CONFIG, shared=True) for _ in range(2))
    first.__enter__()
    second.__enter__()
    (folder.path / ".partial-of-the-first").mkdir()
    before = files(folder)
    for holder in (first, second):
        for options in ({"shared": True, "overwrite": True}, {}, {"overwrite": True}):
            with pytest.raises(OutputError, match="in use"), folder.opened(CONFIG, **options):
                pass
        assert files(folder) == before
        holder.__exit__(None, None, None)
    with folder.opened(OTHER, overwrite=True, shared=True):
        assert len(files(folder)) == 2


def test_who_shares_it_waits_for_one_who_makes_it(folder):
    pytest.importorskip("fcntl")
    entered = threading.Event()

    def enter():
        with folder.opened(CONFIG, shared=True):
            entered.set()

    thread = threading.Thread(target=enter)
    with folder.locked() as lock:
        thread.start()
        time.sleep(0.3)
        assert not entered.is_set() and files(folder) == {}
        folder.claim(CONFIG)
        lock.share()
        assert entered.wait(60)
    thread.join()


def test_overwritten_by_another_between_the_two_locks_it_is_refused(folder, monkeypatch):
    fill(folder)

    def share(lock):
        folder.claim(OTHER, overwrite=True)

    monkeypatch.setattr(Lock, "share", share)
    with (
        pytest.raises(ConfigError, match="inner.rate=0.25 there and 0.5 here"),
        folder.opened(CONFIG, shared=True),
    ):
        pass


def test_what_lost_processes_left_is_cleaned_at_the_end_too(folder):
    with folder.opened(CONFIG):
        (folder.path / ".partial-abc").mkdir()
    assert [path.name for path in folder.path.iterdir()] == ["thing.json"]


def test_plugins_are_recorded_checked_and_added(folder, monkeypatch):
    checked = []
    monkeypatch.setattr(plugins, "check", lambda recorded, what: checked.append((recorded, what)))
    what = f"a thing in {folder.path}"
    monkeypatch.setattr(plugins, "record", lambda: {"mine.py": "1"})
    with folder.opened(CONFIG):
        assert folder.read()["plugins"] == {"mine.py": "1"} and checked == []
    monkeypatch.setattr(plugins, "record", lambda: {"other.py": "2"})
    with folder.opened(CONFIG, shared=True):
        assert checked[0] == ({"mine.py": "1"}, what)
        assert folder.read()["plugins"] == {"mine.py": "1", "other.py": "2"}

    def refuse(recorded, what):
        raise ConfigError(f"{what} needs {', '.join(recorded)}")

    monkeypatch.setattr(plugins, "check", refuse)
    before = files(folder)
    with pytest.raises(ConfigError, match="needs other.py, mine.py"), folder.opened(CONFIG):
        pass
    assert files(folder) == before
    with folder.opened(CONFIG, overwrite=True):  # of what is removed nothing is needed
        assert folder.read()["plugins"] == {"other.py": "2"}


def test_a_digest_is_of_the_values_alone():
    as_dict = {"inner": {"rate": 0.5}, "size": 1, "kind": "a", "name": "anna"}
    assert digest(CONFIG) == digest(as_dict) == digest(json.loads(json.dumps(as_dict)))
    assert len({digest(CONFIG), digest(OTHER), digest(replace(CONFIG, size=2))}) == 3
    assert len(digest(CONFIG)) == 16 and int(digest(CONFIG), 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size to be an integer >= 1. Received: 0"),
        ({"size": 10}, "size <= 9. Received: 10"),
        ({"size": True}, "size to be an integer"),
        ({"kind": "c"}, "kind to be one of a, b. Received: c"),
        ({"name": "otto"}, "expected one of anna. Received: 'otto'"),
        ({"inner": Inner(0.0)}, "rate to be a finite number > 0. Received: 0.0"),
    ],
)
def test_settings_are_checked(change, message):
    check_settings(CONFIG)
    with pytest.raises(ValueError, match=message):
        check_settings(replace(CONFIG, **change))
