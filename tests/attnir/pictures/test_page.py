"""The page in a real browser: what it shows for a query, length, head and tile, beside the dense mask and explain."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import attnir as an

webdriver = pytest.importorskip("selenium.webdriver")
Service, ActionChains, Keys = webdriver.ChromeService, webdriver.ActionChains, webdriver.Keys
By = pytest.importorskip("selenium.webdriver.common.by").By
ui = pytest.importorskip("selenium.webdriver.support.ui")
Select, WebDriverWait = ui.Select, ui.WebDriverWait

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} on the path")

VIDEO = an.grid(t=3, y=6, x=8)
HEADS = an.compile(an.causal() & an.mask(lambda q, k, h: (q - k < 8 * (h + 1)) | (k < 2)))
NEAR = an.compile(an.neighborhood(VIDEO, kernel=(3, 3, 3)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,1400"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {
        "heads": HEADS.plot(128, folder / "heads.html", heads=4, head=1),
        "video": NEAR.plot(144, folder / "video.html", query=(1, 2, 3)),
        "ordered": HEADS.plot(32, folder / "ordered.html", order=True),
    }


class Shown:
    """A page that is open."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser = browser
        browser.get(path.as_uri())
        self.wait_for("2.0.1" if path.stem == "heads" else None)

    def wait_for(self, shown: str | None) -> None:
        """Until a length, a tile and a head are drawn."""
        body = self.browser.find_element(By.TAG_NAME, "body")
        WebDriverWait(self.browser, 20).until(lambda _: (body.get_attribute("data-shown") or "") not in ("",))
        if shown:
            WebDriverWait(self.browser, 20).until(lambda _: body.get_attribute("data-shown") == shown)

    def at(self, name: str) -> Any:
        return self.browser.find_element(By.ID, name)

    def text(self, name: str) -> str:
        return self.browser.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def choose(self, **indices: int) -> None:
        chosen = []
        for name in ("length", "tile", "head"):
            select = Select(self.at(name))
            if name in indices:
                select.select_by_index(indices[name])
            chosen.append(select.first_selected_option.get_attribute("value"))
        self.wait_for(".".join(chosen))

    def hover(self, query: int, q_len: int) -> None:
        """Move the pointer over the row of a query."""
        mask = self.at("mask")
        down = (query + 0.5) / q_len * mask.size["height"] - mask.size["height"] / 2
        ActionChains(self.browser).move_to_element_with_offset(mask, 5, round(down)).perform()

    def counts(self, which: str) -> dict[str, str]:
        return {what: self.text(f"{which}-{what}") for what in ("live", "visited", "over", "full", "partial", "empty")}

    def errors(self) -> list[str]:
        """What the browser calls an error; that the tests read pixels back, it merely warns of."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


def said(e: an.Explanation) -> dict[str, str]:
    """What the page shows of an explanation."""
    counts = {"live": e.live_pairs, "visited": e.visited_pairs, **{s: getattr(e.tiles, s) for s in STATUS}}
    return {name: f"{count:,}" for name, count in counts.items()} | {"over": f"{e.over_compute:.3f}"}


STATUS = ("full", "partial", "empty")


def runs(keys: list[int]) -> str:
    """Keys as the page says them."""
    starts = [k for k in keys if k - 1 not in keys]
    stops = [k for k in keys if k + 1 not in keys]
    return ", ".join(f"{a}–{b}" if a < b else f"{a}" for a, b in zip(starts, stops, strict=True))


def test_hovering_shows_the_keys_of_a_query(browser: Any, pages: dict[str, Path]) -> None:
    page = Shown(browser, pages["heads"])
    for query in (3, 50, 77, 127):
        page.hover(query, 128)
        keys = [k for k in range(query + 1) if query - k < 16 or k < 2]  # head 1
        assert page.text("query-at") == str(query)
        assert page.text("keys-count") == f"{len(keys)} keys:" and page.text("keys") == runs(keys)
    page.choose(tile=0, head=3)
    page.hover(100, 128)
    keys = [k for k in range(101) if 100 - k < 32 or k < 2]
    assert page.text("keys") == runs(keys)
    visits = [e.text for e in page.at("visits").find_elements(By.TAG_NAME, "li")]
    assert visits == ["1. 0–15 partial", "2. 64–79 partial", "3. 80–95 full", "4. 96–111 partial"]
    assert "queries 96–111 and visits 4 tiles" in page.text("tiles-count")
    assert page.errors() == []


def test_controls_change_what_is_counted(browser: Any, pages: dict[str, Path]) -> None:
    page = Shown(browser, pages["heads"])
    assert [o.text for o in Select(page.at("length")).options] == ["32", "64", "128"]
    assert [o.text for o in Select(page.at("head")).options] == ["0", "1", "2", "3"]
    assert [o.text for o in Select(page.at("tile")).options] == ["16 x 16", "32 x 32", "64 x 64", "128 x 128"]
    for i, length in enumerate((32, 64, 128)):
        for j, tile in enumerate((16, 32, 64, 128)):
            page.choose(length=i, tile=j)
            assert page.counts("all") == said(HEADS.explain(length, tile=(tile, tile), heads=4)), (length, tile)
    page.choose(length=1, tile=0)
    one = []
    for head in range(4):
        page.choose(head=head)
        assert page.text("this-head") == f"head {head}"
        one.append(page.counts("one"))
    alone = an.compile(an.causal() & an.mask(lambda q, k: (q - k < 24) | (k < 2))).explain(64, tile=(16, 16))
    assert one[2] == said(alone)
    assert len({c["live"] for c in one}) == 4
    assert str(HEADS.explain(64, tile=(16, 16), heads=4)) == page.text("explain")
    assert page.errors() == []


CELLS = """
return [...document.querySelectorAll("#regions canvas")].map((canvas) => {
  const cell = Number(canvas.dataset.cell), context = canvas.getContext("2d"), found = [];
  for (let y = 0; y * cell < canvas.height; y++)
    for (let x = 0; x * cell < canvas.width; x++)
      found.push([...context.getImageData(x * cell, y * cell, 1, 1).data.slice(0, 3)].join(" "));
  return found;
});
"""


def test_a_grid_shows_the_neighbourhood(browser: Any, pages: dict[str, Path]) -> None:
    page = Shown(browser, pages["video"])
    assert not page.at("length").is_enabled() and "the grid fixes the length" in page.text("note")
    assert page.text("query-at") == "t = 1, y = 2, x = 3 (67)" and page.text("keys") == "t 0–2, y 1–3, x 2–4"
    for query, (y, x) in {67: (1, 2), 0: (0, 0)}.items():  # the query, and where its window begins
        keys = [t * 48 + (y + i) * 8 + x + j for t in range(3) for i in range(3) for j in range(3)]
        page.hover(query, 144)
        colours = {n: browser.execute_script(f"return rgb('--{n}').join(' ')") for n in ("partial-live", "own")}
        images = browser.execute_script(CELLS)
        assert [len(image) for image in images] == [48, 48, 48]
        shown = [i for i, c in enumerate(c for image in images for c in image) if c in colours.values()]
        assert shown == keys
        own = [i for i, c in enumerate(c for image in images for c in image) if c == colours["own"]]
        assert own == [query]
    tile = int(Select(page.at("tile")).first_selected_option.text.split(" x ")[0])
    assert page.counts("one") == said(NEAR.explain(144, tile=(tile, tile)))
    assert page.errors() == []


def test_a_click_holds_a_query_and_keys_move_it(browser: Any, pages: dict[str, Path]) -> None:
    page = Shown(browser, pages["heads"])
    page.hover(40, 128)
    ActionChains(browser).click().perform()
    page.hover(90, 128)
    assert page.text("query-at") == "40" and page.at("held").is_displayed()
    page.at("query").send_keys(Keys.ARROW_RIGHT)
    assert page.text("query-at") == "41" and page.text("keys") == "0–1, 26–41"
    page.hover(90, 128)
    ActionChains(browser).click().perform()
    assert page.text("query-at") == "90" and not page.at("held").is_displayed()
    assert page.at("query").get_attribute("aria-valuetext") == "90"


def test_tiles_are_coloured_by_the_order_of_visits(browser: Any, pages: dict[str, Path]) -> None:
    page = Shown(browser, pages["ordered"])
    assert page.at("order").is_selected() and "visited first" in page.text("legend")
    page.choose(length=2, tile=0)  # 32 tokens in tiles of 16
    pixel = "return document.getElementById('mask').getContext('2d').getImageData(...arguments, 1, 1).data.join(' ')"
    early, late, never = (browser.execute_script(pixel, x, y) for x, y in ((12, 31), (31, 31), (31, 0)))
    assert len({early, late, never}) == 3
    page.at("order").click()
    WebDriverWait(browser, 5).until(lambda _: "partial" in page.text("legend"))
    early, late = (browser.execute_script(pixel, x, 31) for x in (0, 31))
    assert early == late, "both are live pairs of partial tiles"
    assert page.errors() == []


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("name", ["heads", "video"])
def test_both_themes_fit_their_window(
    browser: Any, pages: dict[str, Path], tmp_path: Path, name: str, width: int
) -> None:
    browser.set_window_size(width, 1400)
    page = Shown(browser, pages[name])
    grounds = set()
    for _ in range(2):
        page.at("theme").click()
        page.choose()
        grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.save_screenshot(str(tmp_path / f"{name}.png"))
    assert len(grounds) == 2
    browser.set_window_size(1280, 1400)


def test_every_control_has_a_name(browser: Any, pages: dict[str, Path]) -> None:
    page = Shown(browser, pages["video"])
    for element in page.browser.find_elements(By.CSS_SELECTOR, "select, input, button, canvas:not([aria-hidden])"):
        assert element.accessible_name, element.get_attribute("outerHTML")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
