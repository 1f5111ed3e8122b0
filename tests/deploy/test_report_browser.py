"""The page of a report in a real browser: it complains of nothing, fetches nothing, and the page can be read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bulksend.event import BounceKind, EventType
from bulksend.model import CampaignState, Halt
from bulksend.report import Became, CampaignReport, render_page
from tests.deploy.browser import Page, browser
from tests.unit.test_report_page import NASTY, NOON, campaign, kinds, report, row

FOLDED, PHONE, TABLET, DESKTOP = (280, 653), (360, 800), (768, 1024), (1280, 900)

WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"

CONTRASTS = """
(() => {
  const channel = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
  const parts = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = colour => {
    const [r, g, b] = parts(colour);
    return .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor, all = parts(colour);
      if (all.length === 3 || all[3] === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest('svg title, svg desc')) continue;
    const style = getComputedStyle(element);
    const one = light(element.closest('svg') ? style.fill : style.color), other = light(behind(element));
    const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    found.push([ratio, walk.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""
"""(ratio, text), the worst first (WCAG 2.2, contrast ratio)."""

CUT_OFF = """
[...document.querySelectorAll('.scroll')]
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.textContent.slice(0, 40))
"""
"""Tables that are wider than the page, and so can be scrolled."""


BARS_FROM_EDGE = """
[...document.querySelectorAll('.bar rect')].map(
  e => e.closest('table').getBoundingClientRect().right - e.getBoundingClientRect().right)
"""


def crowded() -> CampaignReport:
    """All sections, the longest words, the largest numbers."""
    long = "arn:aws:ses:eu-west-1:123456789012:configuration-set/" + "marketing" * 20
    rows = [row(10**7 + n, "dead", address="a***@" + "mail." * 20 + "example.com", reason=long) for n in range(50)]
    said = kinds(("MAIL_FROM_DOMAIN_NOT_VERIFIED", long, 3), ("TooManyRequestsException", "Maximum rate.", 2))
    return report(
        campaign=campaign(CampaignState.HALTED, halt=Halt(long, long), name="2026-11-launch-" + "x" * 49),
        refused=said,
        in_doubt=said,
        retried=said,
        dead_rows=rows,
        in_doubt_rows=rows,
        with_addresses=True,
        held_up=(long,),
        became=Became(
            104_159,
            2,
            {EventType.DELIVERY: 90_000, EventType.BOUNCE: 10_000, EventType.COMPLAINT: 4000},
            {BounceKind.PERMANENT: 9000, BounceKind.TRANSIENT: 1000},
            NOON,
        ),
        bounced=said,
    )


def nasty() -> CampaignReport:
    rows = [row(1, "dead", address=NASTY, status=NASTY, reason=NASTY)]
    return replace(
        report(refused=kinds((NASTY, NASTY, 1)), dead_rows=rows, in_doubt_rows=rows),
        campaign=campaign(CampaignState.HALTED, name=NASTY, halt=Halt(NASTY, NASTY)),
    )


def looked_at(folder: Path, shown: CampaignReport, look: Callable[[Page, str], Awaitable[None]]) -> None:
    """Open the page as a file in a browser that has nothing to complain of, and fetches nothing but that file."""
    path = folder / "launch-report.html"
    path.write_text(render_page(shown), "utf-8")

    async def main() -> None:
        async with browser() as page:
            await look(page, path.as_uri())
            assert page.complaints == []
            assert set(page.requests) == {path.as_uri()}

    asyncio.run(main())


@pytest.mark.parametrize("made", [report, crowded, nasty])
@pytest.mark.parametrize(("width", "height"), [FOLDED, PHONE, TABLET, DESKTOP])
def test_it_is_as_wide_as_the_window(
    tmp_path: Path, made: Callable[[], CampaignReport], width: int, height: int
) -> None:
    async def look(page: Page, address: str) -> None:
        await page.open(address, width=width, height=height)
        shown, there = await page.value(WIDTHS)
        assert there == width
        assert shown <= width
        if made is report and (width, height) != FOLDED:
            assert await page.value(CUT_OFF) == []
            assert min(await page.value(BARS_FROM_EDGE)) > 8
        assert await page.value("document.querySelectorAll('script, img, iframe').length") == 0
        assert await page.value("document.querySelector('svg.chart path.line').getBBox().width") > 0

    looked_at(tmp_path, made(), look)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("made", [report, crowded])
def test_its_colours_can_be_told_apart(tmp_path: Path, made: Callable[[], CampaignReport], *, dark: bool) -> None:
    async def look(page: Page, address: str) -> None:
        await page.open(address, width=1280, height=900, dark=dark)
        contrasts = await page.value(CONTRASTS)
        assert len(contrasts) > 100
        assert [(ratio, text) for ratio, text in contrasts if ratio < 4.5] == []
        red = await page.value("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
        assert (int(red) < 60) is dark

    looked_at(tmp_path, made(), look)


def test_it_prints(tmp_path: Path) -> None:
    async def look(page: Page, address: str) -> None:
        await page.open(address, width=1280, height=900, dark=True)
        pdf = await page.printed()
        assert pdf.startswith(b"%PDF")
        assert 3 <= len(re.findall(rb"/Type /Page\b(?!s)", pdf)) <= 20
        await page.ask("Emulation.setEmulatedMedia", media="print", features=[DARK])
        assert await page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert await page.value("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
        assert await page.value("getComputedStyle(document.querySelector('h2')).breakAfter") == "avoid"

    looked_at(tmp_path, crowded(), look)


DARK = {"name": "prefers-color-scheme", "value": "dark"}


def test_the_browser_would_complain(tmp_path: Path) -> None:
    """So that its silence means something."""
    text = render_page(report())
    (tmp_path / "bad.html").write_text(
        text.replace("<main>", '<main style="color:red"><script>1</script><img src="http://127.0.0.1:9/x.png">'),
        "utf-8",
    )

    async def main() -> None:
        async with browser() as page:
            await page.open((tmp_path / "bad.html").as_uri(), width=1280, height=900)
            said = "\n".join(page.complaints)
            assert [one for one in ("style-src-attr", "script-src-elem", "img-src") if f"'{one}'" not in said] == []
            assert "http://127.0.0.1:9/x.png" in page.requests

    asyncio.run(main())
