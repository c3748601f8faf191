import json
from dataclasses import replace

import pytest

from tfrnnx.errors import ConfigError, ModelFileError, OutputError
from tfrnnx.networks.runs import Run, TrainConfig

CONFIG = TrainConfig("shallow", epochs=3).resolved(images=300)
ROWS = [
    {"epoch": 0, "loss": 2.5, "val_loss": 2.25, "seconds": 1.0},
    {"epoch": 1, "loss": 1 / 3, "val_loss": 1e-300, "seconds": 0.5},
]


@pytest.fixture
def run(tmp_path):
    """The run of `CONFIG` after its end, as far as files go."""
    run = Run(tmp_path / "run")
    run.claim(CONFIG)
    for folder in (run.checkpoint, run.saved_model, run.logs / "train"):
        folder.mkdir(parents=True)
    for file in (run.results, run.model, run.heatmap, run.last, run.logs / "train" / "events"):
        file.write_text("{}")
    run.write_history(ROWS)
    return run


def files(folder):
    return {
        path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")
    }


def test_zeros_are_chosen_by_the_size_of_the_data_set():
    small, large = (TrainConfig("deep").resolved(images) for images in (1_437, 60_000))
    assert (small.epochs, small.batch_size, small.patience) == (60, 32, 30)
    assert (large.epochs, large.batch_size, large.patience) == (10, 100, 5)
    given = TrainConfig("deep", epochs=3, batch_size=7, patience=2)
    assert given.resolved(1_437) == given
    assert TrainConfig("deep", epochs=1).resolved(1_437).patience == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("batch_size", -1),
        ("patience", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("inf")),
        ("learning_rate", float("nan")),
        ("precision", "float16"),
    ],
)
def test_values_outside_their_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=rf"Expected .*{name} .*\. Received: {value}"):
        TrainConfig("deep", **{name: value}).resolved(300)


def test_the_configuration_is_written_down_and_read_again(tmp_path):
    run = Run(tmp_path / "new" / "run")
    assert run.read_config() is None
    run.claim(CONFIG)
    assert run.read_config() == CONFIG
    written = json.loads(run.config.read_text())
    assert set(written["versions"]) == {"tfrnnx", "keras", "tensorflow", "numpy"}
    assert written["plugins"] == {}
    assert {key: written[key] for key in ("arch", "epochs", "seed")} == {
        "arch": "shallow",
        "epochs": 3,
        "seed": 0,
    }


def test_a_run_is_found_by_its_model(run):
    for path in (run.folder, run.model, str(run.model)):
        assert Run.of_model(path).read_config() == CONFIG


def test_opened_again_a_run_is_left_as_it_is(run):
    before = files(run.folder)
    partial = run.folder / ".partial-abc"
    partial.mkdir()
    (partial / "model.keras").write_text("half")
    run.claim(CONFIG)
    assert files(run.folder) == before


def test_another_configuration_is_refused_with_both_values(run):
    before = files(run.folder)
    with pytest.raises(
        ConfigError,
        match=r"Received: learning_rate=0.002 there and 0.1 here, seed=0 there and 1 here; choose "
        "another folder, or start over by overwriting it",
    ):
        run.claim(replace(CONFIG, seed=1, learning_rate=0.1))
    assert files(run.folder) == before


@pytest.mark.parametrize("seed", [0, 1])
def test_overwrite_removes_the_run_and_nothing_else(run, seed):
    (run.folder / "notes.txt").write_text("mine")
    config = replace(CONFIG, seed=seed)
    run.claim(config, overwrite=True)
    assert {path.name for path in run.folder.iterdir()} == {"config.json", "notes.txt"}
    assert run.read_config() == config


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("notes.txt", "mine", OutputError),
        ("config.json", '{"arch": "shallow"}', ConfigError),
        ("config.json", "[1, 2]", ConfigError),
        ("config.json", "half of {", ConfigError),
    ],
)
def test_a_foreign_folder_is_refused_and_untouched(tmp_path, name, text, error, overwrite):
    (tmp_path / name).write_text(text)
    (tmp_path / "logs").mkdir()
    before = files(tmp_path)
    with pytest.raises(error, match="Expected .* Received: .*choose another"):
        Run(tmp_path).claim(CONFIG, overwrite=overwrite)
    assert files(tmp_path) == before


def test_what_a_process_killed_at_its_start_left_is_no_foreign_folder(tmp_path):
    (tmp_path / ".partial-abc").mkdir()
    Run(tmp_path).claim(CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match="a file in the place of a folder"):
        Run(tmp_path / "run").claim(CONFIG)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_run_belongs_to_one_training_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    run, other = Run(tmp_path / "new" / "run"), Run(tmp_path / "new" / "run")
    with run.opened(CONFIG):
        run.write_history(ROWS)
        before = files(run.folder)
        for overwrite in (False, True):
            with (
                pytest.raises(OutputError, match="run to be in use by no other .*choose another"),
                other.opened(replace(CONFIG, seed=1), overwrite=overwrite),
            ):
                pass
        assert files(run.folder) == before
        with Run(tmp_path / "another").opened(CONFIG):
            pass
    with other.opened(CONFIG):
        assert files(run.folder) == before


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_not_locked(tmp_path, name):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=f"write .*{name}.*choose another"),
        Run(tmp_path / name).opened(CONFIG),
    ):
        pass


def test_the_history_is_a_row_an_epoch(run):
    header, first, _ = run.history.read_text().splitlines()
    assert (header, first) == ("epoch,loss,val_loss,seconds", "0,2.5,2.25,1.0")
    assert run.read_history() == ROWS
    assert Run(run.folder / "empty").read_history() == []


@pytest.mark.parametrize("text", ["epoch,loss\n0,x\n", "epoch,loss\n0\n", "\xff\x00"])
def test_a_damaged_history_is_told(run, text):
    run.history.write_text(text, encoding="latin-1")
    with pytest.raises(ModelFileError, match=r"history\.csv .* Received: .*overwriting"):
        run.read_history()


def test_results_are_of_their_configuration(run):
    run.write_results(CONFIG, {"accuracy": 0.5})
    assert run.read_results(CONFIG) == {"accuracy": 0.5}
    with pytest.raises(ModelFileError, match=r"results\.json .* Received: .*another configuration"):
        run.read_results(replace(CONFIG, seed=1))


@pytest.mark.parametrize("text", ["{", "{}", "[]", "1"])
def test_damaged_results_are_told(run, text):
    run.results.write_text(text)
    with pytest.raises(ModelFileError, match=r"results\.json .* Received: .*overwriting") as told:
        run.read_results(CONFIG)
    assert told.value.remedies == ("overwrite",)
    run.results.unlink()
    assert run.read_results(CONFIG) is None
