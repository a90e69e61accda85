"""A browser that has no network, started once: opens a page from disk and holds it to silence."""

import os
import shutil
import time

import pytest

BROWSER = os.environ.get("PRH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-sync")


@pytest.fixture(scope="session")
def browser():
    """Chromium. Tests of it are skipped where it is missing, but where PRH_NEEDS_BROWSER is set they fail."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if BROWSER is None or sync_playwright is None:
        lacking = "chromium (apt install chromium)" if BROWSER is None else "playwright (pip install playwright)"
        (pytest.fail if os.environ.get("PRH_NEEDS_BROWSER") else pytest.skip)(f"needs {lacking}")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=BROWSER, args=[f"--{option}" for option in QUIET])
        yield running
        running.close()


def _opener(browser):
    """Opens a report from disk; at the end nothing was asked of the network and nothing was complained about."""
    trouble, contexts = [], []

    def open_report(path, *, width=1200, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request", lambda r: trouble.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None
        )
        page.on("dialog", lambda d: (trouble.append(d.message), d.dismiss()))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert trouble == []


opened = pytest.fixture(_opener, name="opened")
kept_open = pytest.fixture(_opener, scope="module", name="kept_open")


def eventually(page, expression):
    """Waits for something to become true; the page's own policy keeps out what Playwright would wait with."""
    end = time.perf_counter() + 10
    while not page.evaluate(expression):
        assert time.perf_counter() < end, expression
        page.wait_for_timeout(20)


def column(page, place):
    """The texts of a column of the table of model pairs."""
    return page.eval_on_selector_all(f"#pairs tbody td:nth-child({place})", "cells => cells.map(c => c.textContent)")


def saved(page, button):
    """The text of the file that a button saves, by its selector or a locator."""
    with page.expect_download() as download:
        (page.locator(button) if isinstance(button, str) else button).click()
    with open(download.value.path(), encoding="utf-8", newline="") as file:
        return file.read()
