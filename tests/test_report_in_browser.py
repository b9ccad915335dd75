"""report.html in a real browser: no errors, no requests, nothing hidden or cut off, videos play, numbers are right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_example import example_report, typed, write_example

from fomm.report import tables, write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install fomm[test])")
NASTY = '<script>document.title = "stolen"</script><img src=x onerror=alert(1)>'


class Opened:
    """A page, and what it did that it should not have done."""

    def __init__(self, page: Any, file: Path) -> None:
        self.page, self.complaints, self.requests = page, [], []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(file.resolve().as_uri())

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    pages = []

    def open_page(file: Path, width: int = 1280, scheme: str = "light") -> Opened:
        pages.append(browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme))
        return Opened(pages[-1], file)

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models with long names, warnings, failures and names that are markup."""
    report = example_report(identities=4, models=("puppets", "wide", "source", "early"), names=("reconstruction",))
    report["data"] |= {"split_overlap": [NASTY], "warnings": ["w" * 200]}
    report["failures"] = [
        {"protocol": "reconstruction", "clip": NASTY, "model": "wide", "reason": "/a/very/long/path" * 20}
    ]
    report["not_computed"][0]["how"] = "https://example.org/" + "x" * 300
    text = json.dumps(report).replace('"id01-00"', json.dumps(NASTY)).replace('"wide"', json.dumps("runs/wide_" * 9))
    folder = write_example(tmp_path_factory.mktemp("report"), json.loads(text))
    write_report(folder)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_errors_requests_or_overflow(folder: Path, open_page: Any, width: int, scheme: str) -> None:
    opened = open_page(folder / "report.html", width, scheme)
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert opened.overflow() == 0
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in opened.requests) == 1, "nothing but itself"
    assert opened.complaints == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_names_stay_text(folder: Path, open_page: Any) -> None:
    opened = open_page(folder / "report.html")
    assert opened.page.title().startswith("puppets and runs/wide_") and opened.complaints == []
    assert opened.page.locator("script").count() == 0 and opened.page.locator("img").count() == 0
    assert opened.page.get_by_text(NASTY, exact=True).count() >= 1


def test_tables_show_the_numbers_of_the_report(folder: Path, open_page: Any) -> None:
    report = json.loads((folder / "report.json").read_text())
    page = open_page(folder / "report.html").page
    protocol = report["protocols"]["reconstruction"]
    models = tables.ordered_models(typed(report))
    rows = page.locator("section[aria-labelledby=protocol-0] table").first.evaluate(
        """table => [...table.tBodies].flatMap(body => [...body.rows].map(row => [
            body.rows[0].cells[0].querySelector("a").hash, [...row.querySelectorAll("th[scope=row]")].at(-1).innerText,
            [...row.querySelectorAll("td")].map(cell => cell.querySelector("data")?.value ?? null),
            [...row.querySelectorAll("td")].map(cell => cell.querySelector("data")?.innerText ?? null)]))"""
    )
    keys = {"pooled": "pooled", "misses left out": "pooled", "misses counted": "pooled_with_misses",
            "mean of clips": "clip_mean", "missed frames": "missed"}  # fmt: skip
    seen = set()
    for anchor, label, values, texts in rows:
        metric, key = anchor.removeprefix("#metric-"), keys[label.strip()]
        wanted = [protocol["summary"][metric][model][key] for model in models]
        assert [None if v is None else float(v) for v in values] == wanted
        seen.add((metric, key))
        if key != "missed":
            for text, value in zip(texts, wanted, strict=True):
                digits = len(text.partition(".")[2])
                assert float(text) == pytest.approx(value, abs=0.5001 * 10**-digits)
    assert {metric for metric, _ in seen} == set(protocol["summary"])
    differences = page.locator("table.differences").first.evaluate(
        """table => [...table.tBodies].map(body => [body.rows[0].cells[0].querySelector("a").hash,
            body.rows[0].cells[1].querySelector("data").value, body.rows[0].cells[5].innerText])"""
    )
    assert len(differences) == len(protocol["differences"])
    for anchor, value, clips in differences:
        entry = protocol["differences"][anchor.removeprefix("#metric-")][models[0]]
        assert float(value) == entry["mean"]
        assert clips.split("of")[0].strip() == f"{entry['wins']} / {entry['ties']} / {entry['losses']}"


def test_videos_play(folder: Path, open_page: Any) -> None:
    page = open_page(folder / "report.html").page
    videos = page.locator("video")
    assert videos.count() == 5
    for video in videos.all():
        assert video.evaluate("v => [v.controls, v.loop, v.muted, v.autoplay]") == [True, True, True, False]
        assert "from left to right: source, driving, puppets" in video.get_attribute("aria-label")
    played = videos.first.evaluate(
        """async video => {
            await video.play();
            await new Promise(done => video.addEventListener("timeupdate", () => video.currentTime > 0 && done()));
            return [video.readyState, video.duration, video.videoWidth, video.error];
        }"""
    )
    assert played[0] >= 2 and played[1] == pytest.approx(1.0, abs=0.01) and played[2] == 64 * 6 and played[3] is None
    widths = page.locator(".wide").first.evaluate(
        "wide => [wide.querySelector('.labels').offsetWidth, wide.querySelector('video').offsetWidth]"
    )
    assert widths[0] == widths[1], "labels stand over their columns"


def test_it_can_be_read_without_eyes_or_mouse(folder: Path, open_page: Any) -> None:
    page = open_page(folder / "report.html").page
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False)), "no level is left out"
    facts = page.evaluate(
        """() => {
            const all = selector => [...document.querySelectorAll(selector)];
            return {
                language: document.documentElement.lang,
                headers: all("th").filter(th => !th.scope).length,
                captions: all("table").filter(table => !table.caption?.textContent.trim()).length,
                plots: all("svg:not([aria-hidden])").filter(svg => !svg.getAttribute("aria-label")).length,
                regions: all(".scroll").filter(div => div.tabIndex !== 0 || !div.getAttribute("aria-label")).length,
                ids: all("[id]").length - new Set(all("[id]").map(e => e.id)).size,
                links: all("a[href^='#']").filter(a => !document.getElementById(a.hash.slice(1))).length,
            }
        }"""
    )
    assert facts == {"language": "en", "headers": 0, "captions": 0, "plots": 0, "regions": 0, "ids": 0, "links": 0}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    summary = page.locator("summary").nth(3)
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.evaluate("part => part.parentElement.open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(folder: Path, open_page: Any, scheme: str) -> None:
    page = open_page(folder / "report.html", scheme=scheme).page
    names = ["page", "soft", "best", "warn", "text", "quiet", "link", "good", "bad", *(f"c{i}" for i in range(6))]
    colours = page.evaluate(
        "names => names.map(n => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())", names
    )
    light = {name: luminance(colour) for name, colour in zip(names, colours, strict=True)}

    def contrast(a: str, b: str) -> float:
        high, low = sorted((light[a], light[b]), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "best", "warn"):
        for ink in ("text", "quiet"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    for ink in names[6:]:
        assert contrast(ink, "page") >= 4.5, ink


def luminance(colour: str) -> float:
    """WCAG 2 relative luminance of "#rrggbb" or "#rgb"."""
    digits = colour.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_it_prints_everything(folder: Path, open_page: Any) -> None:
    opened = open_page(folder / "report.html", 700)
    opened.page.emulate_media(media="print")
    closed = opened.page.locator("details:not([open]) svg.plot").first
    assert closed.bounding_box()["height"] > 50, "what is folded on the screen is printed"
    assert not opened.page.locator("nav").is_visible()
    assert opened.page.pdf(prefer_css_page_size=True)[:4] == b"%PDF"


def test_a_real_evaluation(tmp_path: Path, open_page: Any) -> None:
    from small_models import small_model

    from evaluate import Options, evaluate
    from fomm.checkpoint import save_weights
    from preprocess.synthetic.puppets import write_puppet_pairs

    pairs = write_puppet_pairs(
        tmp_path / "data", identities=4, pairs=1, frames=3, fps=6, size=64, seed=1, val=0, test=0.6
    )
    model, output = tmp_path / "small.safetensors", tmp_path / "report"
    # Not called a face model: no face is looked for, so nothing is downloaded for that.
    save_weights(model, small_model(), category="body", image_size=64)
    manifest = str(pairs.with_name("manifest.csv"))
    report = evaluate(Options(manifest, str(output), [str(model)], baseline="source", pairs=str(pairs)))
    opened = open_page(output / "report.html", 390)
    page = opened.page
    assert opened.complaints == [] and opened.overflow() == 0
    assert page.locator("h1").inner_text() == "small against source"
    assert page.locator("video").count() == sum(len(p.gallery) for p in report.protocols.values()) >= 2
    for video in page.locator("video").all():
        assert video.evaluate(
            "async video => { await video.play(); return video.readyState >= 2 && video.duration > 0 && !video.error; }"
        )
    listed = page.locator("section[aria-labelledby=not-computed] tbody th").all_inner_texts()
    assert listed == [row.metric for row in report.not_computed]
    for text in ("Reconstruction", "Cross-identity with ground truth", report.data.manifest_sha256):
        assert page.get_by_text(text, exact=True).count() >= 1
    assert "small minus source" in (output / "report.md").read_text()
