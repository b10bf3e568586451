"""The certificate as Chromium shows it: loads nothing, runs nothing, fits, is readable in light, dark and on paper."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.journals import bad, good
from tests.cli.test_certificate import hostile, page
from tests.rig.chromium import Tab, tab

pytestmark = pytest.mark.slow

# Each text with its colour and the nearest background behind it, as the browser has worked them out.
CONTRASTS = """
(() => {
  const shown = c => { const m = c.match(/[\\d.]+/g).map(Number);
                       return m.length < 4 || m[3] > 0 ? m.slice(0, 3) : null };
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                       return .2126 * r + .7152 * g + .0722 * b };
  const behind = e => { for (; e; e = e.parentElement) { const c = shown(getComputedStyle(e).backgroundColor);
                        if (c) return c } return [255, 255, 255] };
  const found = [];
  for (const e of document.querySelectorAll('main *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.tagName === 'title') continue;
    const style = getComputedStyle(e), ink = shown(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), e.textContent.slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()
"""
# Texts of the picture that lie on each other, or outside it; a mark's dot and its number belong together.
OVERLAPS = """
(() => {
  const svg = document.querySelector('svg'), frame = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const out = b => b.left < frame.left - 1 || b.right > frame.right + 1 || b.bottom > frame.bottom + 1;
  const bad = boxes.filter(([, b]) => out(b))
                   .map(([t]) => t + ' is outside');
  boxes.forEach(([a, x], i) => boxes.slice(i + 1).forEach(([b, y]) => {
    if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 2 && y.top < x.bottom - 2)
      bad.push(a + ' on ' + b);
  }));
  return bad;
})()
"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
FIRST_SCREEN = "document.querySelector('svg').getBoundingClientRect().bottom <= innerHeight"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


async def _open(browser: Tab, folder: Path, text: str) -> None:
    (folder / "certificate.html").write_text(text, "utf-8")
    browser.requested.clear()
    await browser.open((folder / "certificate.html").as_uri())


async def test_the_certificate_in_chromium(tmp_path: Path) -> None:
    """One browser for all of it: starting one takes longer than the rest."""
    async with tab() as browser:
        for text, usual in ((page(good()), True), (page(bad()), True), (page(hostile()), False)):
            await _open(browser, tmp_path, text)
            assert browser.requested == [(tmp_path / "certificate.html").as_uri()]
            assert browser.said == []
            seen: dict[str, Any] = {}
            for scheme in ("light", "dark"):
                await browser.look(scheme=scheme)
                assert await browser.ask(FITS)
                assert await browser.ask(FIRST_SCREEN) or not usual  # ten seconds: nobody scrolls
                contrast, words = await browser.ask(CONTRASTS)
                assert contrast >= 4.5, (scheme, words)
                seen[scheme] = await browser.ask(BACKGROUND)
            assert seen["light"] != seen["dark"]
            assert await browser.ask(OVERLAPS) == []
            await browser.look(width=390)
            assert await browser.ask(FITS)
        await _open(browser, tmp_path, page(good()))
        await browser.look(scheme="dark", media="print")
        assert await browser.ask(BACKGROUND) == "rgb(255, 255, 255)"  # no page of black ink, however the screen was
        assert (await browser.pdf()).startswith(b"%PDF-")


async def test_the_policy_stops_what_escaping_might_have_missed(tmp_path: Path) -> None:
    """Were a text ever taken for markup, the page's own policy is the second lock: it is tried with real markup."""
    bait = '<img src="https://evil.example/x"><script>document.title = "owned"</script><b style="color:red">'
    async with tab() as browser:
        await _open(browser, tmp_path, page(good()).replace("<h1>", f"{bait}<h1>"))
        assert await browser.ask("document.title") != "owned"
        assert len([line for line in browser.said if "Content Security Policy" in line]) >= 3
