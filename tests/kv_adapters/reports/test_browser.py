"""The page in a browser: it opens, filters, fits a phone, and runs nothing that a model wrote."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kv_adapters.comparison.runs import load_runs
from kv_adapters.reports.report import write_report

from .model_runs import MODELS, Model

HOSTILE = (
    "</dd><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"> </script>{{ 7*7 }}"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(
    write_models: Callable[..., list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    hostile = Model('a<b>&"c', 0.7, 0.3, answers=HOSTILE)
    base, *others = load_runs(write_models(MODELS[0], MODELS[1], hostile))
    return write_report(base, others, tmp_path_factory.mktemp("page"))


def opened(browser: Any, page: Path, width: int = 1000) -> tuple[Any, list[str]]:
    """Open a page; everything that the browser complains of is listed."""
    tab, said = browser.new_page(viewport={"width": width, "height": 800}), []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda asked: said.append(asked.url) if asked.url != page.as_uri() else None)
    tab.goto(page.as_uri())
    return tab, said


def test_the_page_opens_alone_and_runs_nothing_that_a_model_wrote(
    browser: Any, report: Path
) -> None:
    tab, said = opened(browser, report)
    assert said == []
    assert "owned" not in tab.title()
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert HOSTILE in tab.inner_text("#differences")
    assert "owned" not in tab.title()
    assert said == []


def test_the_filters_narrow_the_list_and_show_all_again(browser: Any, report: Path) -> None:
    tab, _ = opened(browser, report)
    total = int(tab.inner_text("#count").split()[0])
    tab.select_option("select[name=direction]", "became wrong")
    wrong = int(tab.inner_text("#count").split()[0])
    assert 0 < wrong < total
    assert tab.locator("[data-direction='became right']:visible").count() == 0
    tab.select_option("select[name=task]", "mdqa_pos_10")
    tab.select_option("select[name=position]", "10")
    tab.fill("input[name=text]", "WHO WROTE BOOK")
    few = tab.locator("details[data-task]:not([hidden])")
    assert 0 < few.count() < wrong
    assert {few.nth(n).get_attribute("data-task") for n in range(few.count())} == {"mdqa_pos_10"}
    tab.fill("input[name=text]", "no such text")
    assert tab.inner_text("#count") == f"0 of {total} documents"
    tab.click("button[type=reset]")
    tab.wait_for_function(f"document.getElementById('count').textContent.startsWith('{total} of')")


def test_showing_all_again_opens_no_block(browser: Any, report: Path) -> None:
    tab, _ = opened(browser, report)
    states = "[...document.querySelectorAll('[data-block]')].map((block) => block.open)"
    closed = tab.evaluate(states)
    assert not any(closed)
    tab.click("button[type=reset]")
    tab.evaluate("new Promise((done) => setTimeout(done, 50))")
    assert tab.evaluate(states) == closed
    tab.select_option("select[name=task]", "mdqa_pos_10")
    narrowed = tab.evaluate(states)
    assert 0 < sum(narrowed) < len(narrowed)
    tab.click("button[type=reset]")
    tab.evaluate("new Promise((done) => setTimeout(done, 50))")
    assert tab.evaluate(states) == narrowed


def test_the_gold_document_is_marked(browser: Any, report: Path) -> None:
    tab, _ = opened(browser, report)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    card = tab.locator("details[data-task=mdqa_pos_10]").first
    assert card.locator("mark").inner_text().startswith("Document [10](Title: Book 10)")


def test_it_fits_a_phone_and_is_used_by_keyboard(browser: Any, report: Path) -> None:
    tab, _ = opened(browser, report, width=400)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    seen = set()
    for _ in range(25):
        tab.keyboard.press("Tab")
        seen.add(tab.evaluate("document.activeElement.tagName"))
    assert {"A", "DIV", "SELECT", "INPUT", "SUMMARY"} <= seen


def test_without_scripts_every_document_is_there(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(report.as_uri())
    assert tab.locator("#filters").is_hidden()
    assert tab.locator("details[data-task]").count() > 50
    context.close()
