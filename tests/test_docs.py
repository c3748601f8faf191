"""The pages of docs/ are up to date, and their code runs."""

import importlib.util
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from programs import run

import tfrnnx

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
REGISTRIES = (
    "activation_handlers",
    "architectures",
    "cell_handlers",
    "datasets",
    "engines",
    "layer_handlers",
    "methods",
    "metrics",
    "rules",
)
LAYERS = {
    its.__name__
    for of in (keras.layers, tfrnnx.layers)
    for its in vars(of).values()
    if isinstance(its, type)
}


@pytest.fixture(scope="module")
def make(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        yield made()


def made():
    spec = importlib.util.spec_from_file_location("make", DOCS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["layers.md", "methods.md"])
def test_made_pages_are_up_to_date(make, name):
    page = (DOCS / name).read_text()
    newer = [
        layer
        for layer in re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
        if name == "layers.md" and layer not in LAYERS
    ]
    if newer:
        pytest.skip(f"made with a newer Keras: this one has no {', '.join(newer)}")
    assert make.PAGES[name]() == page, "run python docs/make.py"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#:=]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


def test_the_page_on_programs_is_up_to_date(make, tmp_path):
    def help_of(program):
        return run(program, "--help", cwd=tmp_path).out

    page = make.programs_page(help_of)
    assert page == (DOCS / "programs.md").read_text(), "run python docs/make.py"


def test_flags_on_the_pages_exist():
    sections = re.split(r"^### bin/", (DOCS / "programs.md").read_text(), flags=re.MULTILINE)[1:]
    known = {
        its.split()[0]: set(re.findall(r"^  --(?:\[no\])?(\w+)", its, re.M)) for its in sections
    }
    for page in [ROOT / "README.md", *PAGES]:
        for line in page.read_text().replace("\\\n", " ").splitlines():
            called = re.search(r"bin/(\w+) (--.*)", line)
            if called:
                given = set(re.findall(r"--(\w+)", called[2].split("#")[0].split("`")[0]))
                assert given <= known[called[1]] | {"help"}, f"{page.name}: {line}"


def test_the_site_has_every_public_name():
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    left_out = [
        name
        for name in tfrnnx.__all__
        if f"::: tfrnnx.{name}" not in pages and f"`tfrnnx.{name}`" not in pages
        if name != "__version__" and not (name in REGISTRIES and f"`{name}`" in pages)
    ]
    assert not left_out


def run_code_of(page):
    """Run the page's blocks of Python, one after the other, and return what they define."""
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


def test_the_code_of_the_guide_runs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tfrnnx.errors.NegativeInputWarning)
        run_code_of("guide.md")


def test_the_code_of_the_tasks_runs(capsys):
    run_code_of("tasks.md")
    assert "'auprc': " in capsys.readouterr().out


def test_the_code_of_the_sanity_checks_runs(capsys):
    entries = dict(tfrnnx.sanity.checks._entries)
    try:
        run_code_of("sanity.md")
    finally:
        tfrnnx.sanity.checks._entries = entries
    assert "part of |R| that is negative" in capsys.readouterr().out


WITH_TESTS = ("extending.md", "guide.md", "sanity.md", "scale.md", "tasks.md", "tutorial.md")
OTHERS = [
    page.relative_to(DOCS).as_posix()
    for page in PAGES
    if "```python\n" in page.read_text() and page.name not in WITH_TESTS
]


@pytest.mark.parametrize("page", ["../README.md", *OTHERS])
@pytest.mark.filterwarnings("ignore::tfrnnx.errors.TfrnnxWarning")
def test_the_code_of_the_page_runs(page, tmp_path, monkeypatch, restored):
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    monkeypatch.chdir(tmp_path)
    run_code_of(page)


@pytest.fixture
def restored():
    """What pages register is forgotten after them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in REGISTRIES:
            registry = getattr(tfrnnx, name)
            patch.setattr(registry, "_entries", dict(registry._entries))
        yield


@pytest.fixture(scope="module")
def registered():
    """What the page defines; what it registers is known to this module alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("layer_handlers", "cell_handlers", "activation_handlers", "methods"):
            registry = getattr(tfrnnx, name)
            patch.setattr(registry, "_entries", dict(registry._entries))
        yield run_code_of("extending.md")


def test_the_registered_layer_in_a_model(registered):
    ledger = registered["explained"].ledger
    assert "series_normalization" in " ".join(row.layer for row in ledger.rows())
    np.testing.assert_allclose(ledger.total(), ledger.start, rtol=1e-4, atol=1e-6)


EPSILON = 0.01


def stabilized(z):
    return z + EPSILON * np.where(z >= 0, 1, -1)


def normalized(layer, x):
    """Normalization over the steps as scale and offset, from its definition."""
    scale = np.asarray(layer.gamma) / np.sqrt(x.var(1, keepdims=True) + 1e-3)
    return scale, np.asarray(layer.beta) - x.mean(1, keepdims=True) * scale


@pytest.fixture(scope="module")
def model(registered):
    model = keras.Sequential(
        [
            keras.Input((5, 2), dtype="float64"),
            registered["SeriesNormalization"](dtype="float64"),
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(3, dtype="float64"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


X = np.random.default_rng(1).normal(size=(4, 5, 2))
TARGET = np.array([0, 1, 2, 0])


@pytest.mark.parametrize("bias", ["absorb", "ignore", "distribute"])
def test_the_registered_layer_against_numpy(model, bias):
    normalization, _, dense = model.layers
    explained = tfrnnx.explain(
        model, X, "lrp_epsilon", TARGET, epsilon=EPSILON, bias=bias, ledger=True
    )
    scale, offset = normalized(normalization, X)
    y = X * scale + offset
    w = dense.kernel.numpy()[:, TARGET].T.reshape(X.shape)
    b = dense.bias.numpy()[TARGET][:, None, None]
    logit = (y * w).sum((1, 2), keepdims=True) + b
    denominator = stabilized(logit if bias != "ignore" else logit - b)
    of_y = y * w / denominator * logit
    if bias == "distribute":
        of_x = of_y + (logit - of_y.sum((1, 2), keepdims=True)) / 10
    else:
        of_x = X * scale / stabilized(y if bias == "absorb" else X * scale) * of_y
    np.testing.assert_allclose(explained.relevance, of_x, rtol=1e-9)
    np.testing.assert_allclose(explained.ledger.total(), logit[:, 0, 0], rtol=1e-9)


def test_the_registered_layer_has_the_ordinary_gradient(model):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.gather(model(x), TARGET, batch_dims=1)
    np.testing.assert_allclose(
        tfrnnx.explain(model, X, "gradient", TARGET), tape.gradient(logits, x), rtol=1e-9
    )


def test_the_layer_is_refused_before_it_is_registered(model, monkeypatch):
    entries = dict(tfrnnx.layer_handlers._entries)
    del entries[type(model.layers[0])]
    monkeypatch.setattr(tfrnnx.layer_handlers, "_entries", entries)
    with pytest.raises(tfrnnx.errors.UnsupportedLayerError, match="SeriesNormalization"):
        tfrnnx.Explainer(model, "lrp_epsilon")
