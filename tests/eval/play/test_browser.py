"""A scripted person in a real browser: finds things in panoramas, answers questions, stands on the leaderboard."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allocentric.core.runlog import read_samples
from allocentric.core.types import Choice, Item, Number
from allocentric.datasets.export import load_set
from allocentric.envs.panorama.tasks import read_tasks

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE_S = 30.0


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Headless Chromium at 1280x800."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no browser test: selenium is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no browser test: chromium and chromedriver are not installed (apt: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    resize(opened, 1280, 800)
    yield opened
    opened.quit()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Any, str]]]:
    """Starts `allocentric play`; gives the process and the page's address."""
    processes = []

    def started(*arguments: str) -> tuple[Any, str]:
        command = [sys.executable, "-m", "allocentric.cli", "play", *arguments]
        process = subprocess.Popen(
            [*command, "--name", "Ada L.", "--runs", str(tmp_path / "runs"), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stderr is not None
        return process, re.search(r"http://\S+", process.stderr.readline())[0]  # type: ignore[index]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def resize(browser: Any, width_px: int, height_px: int) -> None:
    metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def wait(browser: Any, condition: Callable[[], Any]) -> Any:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, PATIENCE_S, 0.05, [StaleElementReferenceException]).until(lambda _: condition())


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def drag(browser: Any, x_px: int, y_px: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    view = find(browser, "#view")
    ActionChains(browser).move_to_element(view).click_and_hold().move_by_offset(x_px, y_px).release().perform()


def choose(browser: Any, label: str) -> None:
    """Click the button of the card that says so."""

    def clicked() -> bool:
        fitting = [b for b in browser.find_elements("css selector", "#choices button") if label in b.text]
        for button in fitting[:1]:
            button.click()
        return bool(fitting)

    wait(browser, clicked)


def heading(browser: Any) -> tuple[int, int]:
    """Yaw and pitch in degrees, as the page says them."""
    yaw, level, size, way = re.search(  # type: ignore[union-attr]
        r"heading (\d+)°, (?:(level)|(\d+)° (up|down))", find(browser, "#heading").text
    ).groups()
    return int(yaw), 0 if level else int(size) * (1 if way == "up" else -1)


def progress(browser: Any) -> str:
    return str(find(browser, "#progress").text)


def act(browser: Any, deed: Callable[[], None]) -> None:
    """Do something that counts as one action, and see the page move on."""
    before = progress(browser)
    deed()
    wait(browser, lambda: progress(browser) != before)


def look_to(browser: Any, yaw: float, pitch: float) -> None:
    """Turn with keys until one drag will do, and drag."""
    from selenium.webdriver.common.keys import Keys

    while abs(away := math.remainder(yaw - heading(browser)[0], 360)) > 40:
        act(browser, lambda key=Keys.ARROW_RIGHT if away > 0 else Keys.ARROW_LEFT: press(browser, key))
    up = pitch - heading(browser)[1]
    if abs(away) < 1 and abs(up) < 1:
        return
    focal_px = find(browser, "#view").size["width"] / 2 / math.tan(math.radians(50))  # the view is 100 degrees wide
    x_px, y_px = (round(focal_px * math.tan(math.radians(angle))) for angle in (-away, up))
    act(browser, lambda: drag(browser, x_px, y_px))
    assert math.remainder(heading(browser)[0] - yaw, 360) == pytest.approx(0, abs=1.5)
    assert heading(browser)[1] == pytest.approx(pitch, abs=1.5)


def in_window(browser: Any, selector: str) -> bool:
    """Whether an element can be seen without scrolling."""
    script = """const box = document.querySelector(arguments[0]).getBoundingClientRect();
        const inside = box.bottom <= innerHeight && box.right <= innerWidth;
        return inside && box.width > 0 && box.top >= 0 && box.left >= 0"""
    return bool(browser.execute_script(script, selector))


def test_a_person_finds_things_and_stands_on_the_leaderboard(
    browser: Any, start: Any, panorama_folder: Path, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    process, address = start("ObjectSearch", "--set", f"folder={panorama_folder}", "--episodes", "6")
    targets = {}
    for task in read_tasks(panorama_folder):
        if task.annotation.pitch is not None:
            low, high = task.annotation.yaw
            middle = (low + (high - low) % 360 / 2) % 360
            targets[task.annotation.task] = middle, sum(task.annotation.pitch) / 2
    browser.get(address)
    for number in range(6):
        choose(browser, "Begin")
        wait(browser, lambda: f"episode {number + 1} of 6 · action 1 of 10" == progress(browser))  # noqa: B023
        wait(browser, lambda: find(browser, "#view").is_displayed())
        if number == 0:
            reload_and_second_page(browser, address)
            for size_px in ((1280, 800), (1366, 640)):
                resize(browser, *size_px)
                assert all(in_window(browser, part) for part in ("#view", "#cross", "#buttons", "#text", "#progress"))
            resize(browser, 1280, 800)
        look_to(browser, *targets[find(browser, "#text").text])
        press(browser, Keys.ENTER)
        wait(browser, lambda: find(browser, "#card h1").text == "Right")
    choose(browser, "See the table")
    wait(browser, lambda: "Close" in find(browser, "#choices").text)
    rows = [row.text for row in browser.find_elements("css selector", "#table tr")]
    choose(browser, "Close")
    wait(browser, lambda: find(browser, "#card h1").text == "Closed")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    result = json.loads(out)
    cells = {row["policy"]: row["overall"] for row in result["policies"]}
    assert next(iter(cells)) == "Ada L."
    assert (cells["Ada L."]["score"], cells["Ada L."]["n"]) == (100.0, 6)
    assert cells["oracle"]["score"] == 100.0
    assert cells["submit at start"]["score"] < 100.0
    assert [row.split(" 1")[0] for row in rows if row.startswith("Ada")] == ["Ada L."]
    assert len(rows) == 1 + len(cells) + 1  # heads and chance
    samples = [s for s in read_samples(Path(result["folder"])).values() if s["policy"] == "Ada L."]
    assert len(samples) == 6
    assert samples[0]["seconds"] > 0
    complaints = unexpected(browser)
    assert all("423" in entry["message"] for entry in complaints), complaints  # the page that was not let in


def unexpected(browser: Any) -> list[Any]:
    """What the browser complained of, other than pictures of a moment that was over before they had loaded."""
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [e for e in severe if not re.search(r"/view\.jpg\?\S+ - .* status of 409 ", e["message"])]


def reload_and_second_page(browser: Any, address: str) -> None:
    """In the middle of an episode: a reload, a second page that asks first, and the way back."""
    from selenium.webdriver.common.keys import Keys

    act(browser, lambda: press(browser, Keys.ARROW_RIGHT))
    seen = heading(browser), progress(browser)
    browser.refresh()
    wait(browser, lambda: find(browser, "#view").is_displayed())
    assert (heading(browser), progress(browser)) == seen
    assert not find(browser, "#card").is_displayed()
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(address)
    wait(browser, lambda: "Open in another page" in find(browser, "#card").text)
    choose(browser, "Continue here")
    wait(browser, lambda: find(browser, "#view").is_displayed())
    assert (heading(browser), progress(browser)) == seen
    act(browser, lambda: press(browser, Keys.ARROW_LEFT))
    moved = heading(browser), progress(browser)
    browser.switch_to.window(first)
    wait(browser, lambda: "Open in another page" in find(browser, "#card").text)  # it notices by itself
    choose(browser, "Continue here")
    wait(browser, lambda: (heading(browser), progress(browser)) == moved)


RECIPE = """
name: small
source: {name: procedural, count: 2, rooms: [1, 2]}
renderer: {name: raster}
walk: {width_px: 160, height_px: 120, horizontal_fov_rad: 1.4}
frames: 12
types: {object_abs_distance: 2, object_rel_distance: 4}
audit: {enabled: false}
"""


def answer_to(item: Item) -> str:
    if isinstance(item.gold, Choice):
        return "ABCDEFGH"[item.gold.index]
    assert isinstance(item.gold, Number)
    return f"{item.gold.value:g}"


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two houses with walks and questions, as `allocentric make` writes them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "allocentric.cli", "make", str(folder / "small.yaml"), "--out"]
    subprocess.run([*command, str(folder / "set")], check=True, capture_output=True, timeout=300)
    return folder / "set"


@pytest.mark.parametrize(
    "arguments", [["StreamQA"], ["Explore", "--set", "task=question"]], ids=["watching", "walking"]
)
def test_a_person_answers_questions_and_stands_on_the_leaderboard(
    browser: Any, start: Any, small_set: Path, arguments: list[str]
) -> None:
    from selenium.webdriver.common.keys import Keys

    items = load_set(small_set)
    process, address = start(*arguments, "--set", f"items={small_set}", "--episodes", "2")
    browser.get(address)
    answered = 0
    for _ in range(2):
        choose(browser, "Begin")
        wait(browser, lambda: find(browser, "#view").is_displayed() and not find(browser, "#card").is_displayed())
        if "Explore" in arguments:
            act(browser, lambda: press(browser, Keys.ARROW_LEFT))
        while not find(browser, "#card").is_displayed():
            before = progress(browser)
            if find(browser, "#panel").is_displayed():
                answer(browser, items)
                answered += 1
            else:
                press(browser, Keys.ENTER)
            wait(browser, lambda: progress(browser) != before or find(browser, "#card").is_displayed())  # noqa: B023
        assert find(browser, "#card h1").text == "Right"
    choose(browser, "See the table")
    choose(browser, "Close")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    row = json.loads(out)["policies"][0]
    assert (row["policy"], row["overall"]["score"], row["overall"]["n"]) == ("Ada L.", 100.0, 2)
    assert row["overall"]["unreadable"] == 0
    assert answered == (2 if "Explore" in arguments else len(items))
    assert not unexpected(browser)


def answer(browser: Any, items: list[Item]) -> None:
    """Find the item by what the page shows, and say its gold answer."""
    from selenium.webdriver.common.keys import Keys

    text = find(browser, "#question").text
    buttons = browser.find_elements("css selector", "#options button")
    options = tuple(button.text.partition("\n")[2] for button in buttons)  # after the letter
    asked = next(item for item in items if (item.prompt, item.choices) == (text, options))
    right = answer_to(asked)
    if buttons:
        buttons["ABCDEFGH".index(right)].click()
    else:
        find(browser, "#answer").send_keys(right, Keys.ENTER)
