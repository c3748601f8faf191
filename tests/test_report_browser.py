"""A report in a browser: every control is used; nothing fails, and nothing is loaded."""

import shutil
import time

import pytest
from reports import CHANNELS, WORDS

CHROMIUM = next(
    (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="Chromium or its driver is not installed: apt-get install chromium chromium-driver",
)
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}  # scrolls at once
KINDS = ("images", "series", "tokens")


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, report, width=1100, dark=False):
    """Open a page in a window of this width, in light or dark colours."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, STILL]})
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # of what was before
    browser.get(report.path.as_uri())
    return browser


def all_of(browser, selector):
    return browser.find_elements("css selector", selector)


def one(browser, selector):
    return browser.find_element("css selector", selector)


def text(browser, selector):
    return one(browser, selector).text


def choose(browser, selector, value):
    from selenium.webdriver.support.ui import Select

    Select(one(browser, selector)).select_by_value(value)


def ink(browser, selector):
    """How many colours a canvas has."""
    script = """
      const c = document.querySelector(arguments[0]);
      const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set();
      for (let i = 0; i < p.length; i += 4) seen.add((p[i] << 16) + (p[i + 1] << 8) + p[i + 2]);
      return seen.size;
    """
    return browser.execute_script(script, selector)


def use_everything(browser):
    """Choose every entry of every list, press every button, open whatever opens."""
    from selenium.webdriver.support.ui import Select

    for number in range(len(all_of(browser, "select"))):
        select = all_of(browser, "select")[number]
        values = [option.get_attribute("value") for option in Select(select).options]
        if select.is_displayed():
            for value in [*values[1:], values[0]]:
                Select(all_of(browser, "select")[number]).select_by_value(value)
    for number in range(len(all_of(browser, "button"))):
        buttons = all_of(browser, "button")
        if number < len(buttons):
            browser.execute_script("arguments[0].click()", buttons[number])
    for each in all_of(browser, "summary, nav a"):
        browser.execute_script("arguments[0].click()", each)


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_works_and_nothing_is_loaded(browser, reports, kind):
    opened(browser, reports[kind])
    use_everything(browser)
    assert browser.get_log("browser") == []
    asked = [line["message"] for line in browser.get_log("performance")]
    asked = [line for line in asked if "Network.requestWillBeSent" in line]
    assert all(reports[kind].path.name in line or '"url":"data:' in line for line in asked)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width, dark", [(1100, False), (1100, True), (390, False)])
def test_axe_finds_nothing_serious(browser, reports, kind, width, dark):
    axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core-python is missing")
    opened(browser, reports[kind], width, dark)
    for each in all_of(browser, "details"):
        browser.execute_script("arguments[0].open = true", each)
    found = axe.Axe().run(browser)["violations"]
    assert [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_does_not_scroll_sideways(browser, reports, kind):
    opened(browser, reports[kind], 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_the_pictures_are_drawn_and_change_with_the_colours(browser, reports):
    opened(browser, reports["images"])
    for selector in ("#figure canvas", "#figure canvas + canvas", "#methods canvas", "#all canvas"):
        assert ink(browser, selector) > 10
    assert ink(browser, "#time canvas") > 1
    before = browser.execute_script("return document.querySelector('#methods canvas').toDataURL()")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}, STILL]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    time.sleep(0.2)
    after = browser.execute_script("return document.querySelector('#methods canvas').toDataURL()")
    assert before != after


def test_values_are_read_by_pointer_and_by_keyboard(browser, reports):
    from selenium.webdriver import ActionChains, Keys

    report = reports["images"]
    opened(browser, report)
    choose(browser, "#method", "grad_x_input")
    canvas = all_of(browser, "#figure canvas")[1]
    number = int(one(browser, "#sample option:checked").text.split(":")[0])
    network = report.scored[0]
    expected = network.relevance("grad_x_input", [number])[0]
    canvas.send_keys(Keys.ARROW_RIGHT)  # the first place
    for _ in range(6):
        canvas.send_keys(Keys.ARROW_RIGHT)
    canvas.send_keys(Keys.ARROW_DOWN)
    said = text(browser, "#readout")
    assert said.startswith("item 2, step 1, row 1, column 6: relevance ")
    value = float(said.split("relevance ")[1].split(",")[0].replace("−", "-"))
    assert value == pytest.approx(float(expected[1, 1, 1]), abs=float(abs(expected).max()) / 120)
    box = canvas.rect  # a sequence is 7 rows of 3 x 5 pixels
    across, down = -box["width"] / 2 + 3, -box["height"] / 2 + 3
    ActionChains(browser).move_to_element_with_offset(canvas, int(across), int(down)).perform()
    assert text(browser, "#readout").startswith("item 1, step 0, row 0, column 0: ")


def test_the_items_are_held_against_the_mask(browser, reports):
    opened(browser, reports["images"])
    rows = [row.text for row in all_of(browser, "#bars li > span:first-child")]
    assert rows in (
        ["item 1 (of the mask)", "item 2 (of the mask)", "item 3"],
        ["item 1", "item 2 (of the mask)", "item 3 (of the mask)"],
    )
    parts = [float(x.text.replace("−", "-")[:-1]) for x in all_of(browser, "#bars .number")]
    assert sum(map(abs, parts)) == pytest.approx(100, abs=0.3)


def test_another_network_is_shown_everywhere(browser, reports):
    opened(browser, reports["images"])
    first = text(browser, "#scores tbody")
    choose(browser, "#network", "1")
    assert text(browser, "#scores tbody") != first
    qualities = [scored.quality for scored in reports["images"].scored]
    assert f"{qualities[1]:.4f}" in text(browser, "#quality")
    assert [x.text for x in all_of(browser, "#comparison-table tbody th")] == ["rlstm", "shallow"]
    assert len(all_of(browser, "#scatter circle")) == 2
    all_of(browser, "#all button")[0].click()
    assert f"{qualities[0]:.4f}" in text(browser, "#quality")


def test_groups_and_the_best_lead_to_their_samples(browser, reports):
    opened(browser, reports["images"])
    choose(browser, "#group", "worst explained")
    worst = [x.text for x in all_of(browser, "#sample option")]
    assert len(worst) == len(all_of(browser, "#worst button"))
    button = all_of(browser, "#best button")[0]
    wanted = button.find_element("css selector", ".title").text
    browser.execute_script("arguments[0].click()", button)
    assert text(browser, "#caption").startswith(f"{wanted}:")
    before = text(browser, "#caption")
    one(browser, "#next").click()
    assert text(browser, "#caption") != before
    one(browser, "#previous").click()
    assert text(browser, "#caption") == before


def test_words_are_words_and_padding_is_none(browser, reports):
    report = reports["tokens"]
    opened(browser, report)
    for option in all_of(browser, "#sample option"):
        number = int(option.text.split(":")[0])
        choose(browser, "#sample", option.get_attribute("value"))
        words = [x.text for x in all_of(browser, "#figure .words span")]
        assert words == [WORDS[token] for token in report.material.x[number] if token]
        marked = [x.text for x in all_of(browser, "#figure .words .true")]
        assert marked == [word for word in words if word == "good"]


def test_channels_are_named_where_they_are_read(browser, reports):
    from selenium.webdriver import Keys

    opened(browser, reports["series"])
    canvas = one(browser, "#figure canvas")
    for key in (Keys.END, Keys.ARROW_DOWN, Keys.ARROW_DOWN):
        canvas.send_keys(key)
    assert text(browser, "#readout").startswith(f"step 11, {CHANNELS[2]}: relevance ")
