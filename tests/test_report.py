"""Tables of a report: digits, verdicts, misses; the schema; Markdown and terminal; strangers' names stay text."""

from __future__ import annotations

import json
import math
import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_example import example_report, typed, write_example

from fomm.errors import InputError
from fomm.report import (
    charts,
    files,
    read_report,
    render_markdown,
    render_page,
    schema,
    sentences,
    tables,
    terminal_table,
    write_report,
)
from fomm.report.latex import render_latex
from fomm.report.published import PUBLISHED
from fomm.report.schema import Difference
from fomm.report.text import escape_markdown

DOCS = Path(__file__).resolve().parent.parent / "docs"
HOSTILE = "<script>alert(1)</script>|`**x**`\x1b[31m\u202e&amp;\n\"'"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return example_report()


def cells(table: tables.Table) -> dict[tuple[str, str], list[tables.Cell]]:
    """(heading of the group, heading of the row) -> the other cells."""
    return {(group.head.text, row[0].text): row[1:] for group in table.groups for row in group.rows}


def test_the_numbers_are_there_whatever_happens_to_what_is_made_of_them(
    report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "render_latex", lambda report: report.nothing)
    with pytest.raises(AttributeError):
        files.write_files(typed(report), tmp_path)
    assert read_report(tmp_path / "report.json") == typed(report)


# ------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("values", "intervals", "digits"),
    [
        ([0.01934], [(0.0180, 0.0207)], 4),  # width 0.0027: two digits of it
        ([-3.10], [(-9.38, 0.14)], 1),
        ([24.31, 20.0], [(23.9, 24.7), (18.0, 22.0)], 2),  # the narrowest rules
        ([25.0, 22.0, 27.0], [(24.999, 25.001), (21.0, 23.0), (26.0, 28.0)], 2),  # unless it is narrow by luck
        ([40.0, 120.0], [], 1),  # three digits of the smallest
        ([0.0193], [], 4),
        ([0.0], [], 2),
        ([], [], 2),
        ([1.0, 1.0], [(1.0, 1.0)], 2),  # an interval without width says nothing about digits
        ([12345.0], [(12000.0, 12600.0)], 0),
        ([1e308], [(-1e308, 1e308)], 0),
    ],
)
def test_digits_follow_the_interval(values: list[float], intervals: list[tuple[float, float]], digits: int) -> None:
    assert tables.digits_for(values, intervals) == digits


def test_numbers_as_text() -> None:
    assert tables.number(-0.00712, 4, sign=True) == "−0.0071"
    assert tables.number(0.00712, 4, sign=True) == "+0.0071"
    assert tables.number(-0.00001, 2, sign=True) == "0.00", "no minus before zero"
    assert tables.number(None, 2) == tables.number(math.nan, 2) == "–"
    assert tables.number(math.inf, 2) == "∞"
    assert tables.number(1234.5, 1) == "1234.5" and tables.number(12345.6, 0) == "12\u202f346"
    assert tables.bounds([0.0180, 0.0207], 4) == "[0.0180, 0.0207]"
    assert [tables.percent(*pair) for pair in ((0, 9), (1, 1000), (1, 3), (0, 0))] == ["0 %", "0.1 %", "33 %", "–"]


# -------------------------------------------------------------------------------------------------------------- tables


def test_every_summary_number_is_in_the_table(report: dict[str, Any]) -> None:
    for name, protocol in report["protocols"].items():
        found = cells(tables.summary_table(typed(report), name))
        models = tables.ordered_models(typed(report))
        for metric, by_model in protocol["summary"].items():
            label = tables.metric_label(typed(report).metrics[metric])
            missing = any(entry["missed"] for entry in by_model.values())
            rows = {"misses left out" if missing else "pooled": "pooled", "mean of clips": "clip_mean"}
            rows |= {"misses counted": "pooled_with_misses", "missed frames": "missed"} if missing else {}
            for row, key in rows.items():
                if key == "clip_mean" and metric == "fid":
                    assert (label, row) not in found, "a metric of the whole set has no mean of clips"
                    continue
                assert [cell.value for cell in found[label, row]] == [by_model[model][key] for model in models]


def test_latex_tables_fit_a_page_and_hold_every_value(report: dict[str, Any]) -> None:
    """Parts of at most `WIDTH` characters of heads; all metrics in their order, each number once."""
    for name, protocol in report["protocols"].items():
        alone = render_latex(typed(report | {"protocols": {name: protocol}}))
        parts = [re.findall(r"^(.*) \\\\$", part, re.M) for part in alone.split(r"\toprule")[1:]]
        heads = [part[0].split(" & ")[1:] for part in parts]
        order = tables.metric_order(typed(report), protocol["summary"])
        labels = [typed(report).metrics[metric].label for metric in order]
        assert [head.split(" $")[0] for part in heads for head in part] == labels
        assert all(sum(len(head.replace("$", "")) for head in part) <= 140 for part in heads) and len(parts) > 1
        for part in parts:
            assert all(len(row.split(" & ")) == len(part[0].split(" & ")) for row in part[1:])
            assert [row.split(" & ")[0] for row in part[1:]] == tables.ordered_models(typed(report))


def test_the_best_of_a_row_is_marked_and_ties_share_it() -> None:
    report = example_report(models=("puppets", "wide", "early"))
    summary = report["protocols"]["reconstruction"]["summary"]
    for metric, pooled, best in (
        ("l1", (0.02, 0.03, 0.04), [True, False, False]),
        ("psnr", (20.0, 30.0, 25.0), [False, True, False]),
        ("ssim", (0.8, 0.8, 0.7), [True, True, False]),
        ("jitter", (1.0, 1.0, 1.0), [False, False, False]),
        ("identity_truth", (None, 0.5, None), [False, False, False]),
    ):
        for model, value in zip(("puppets", "wide", "early"), pooled, strict=True):
            summary[metric][model] |= {"pooled": value, "interval": None, "missed": 0}
        label = tables.metric_label(typed(report).metrics[metric])
        row = cells(tables.summary_table(typed(report), "reconstruction"))[label, "pooled"]
        assert [cell.best for cell in row] == best, metric


def test_who_fails_on_clips_is_not_the_best() -> None:
    report = example_report(models=("puppets", "wide", "early"))
    summary = report["protocols"]["reconstruction"]["summary"]
    worst, best, base = ({**summary["l1"]["puppets"], "pooled": value} for value in (0.9, 0.8, 0.7))
    summary["l1"] = {"puppets": worst, "wide": best, "early": base | {"frames": base["frames"] - 1}}
    table = tables.summary_table(typed(report), "reconstruction")
    label = tables.metric_label(typed(report).metrics["l1"])
    row = cells(table)[label, "misses left out" if (label, "misses left out") in cells(table) else "pooled"]
    assert [cell.best for cell in row] == [False, True, False] and "of which clips failed" in table.notes[0]


def test_misses_stand_beside_keypoint_numbers_in_both_treatments(report: dict[str, Any]) -> None:
    report = deepcopy(report)
    by_model = report["protocols"]["reconstruction"]["summary"]["akd_mediapipe"]
    by_model["puppets"] |= {"pooled": 3.0, "interval": [2.6, 3.4], "pooled_with_misses": 7.1}
    by_model["puppets"] |= {"frames": 190, "missed": 10}
    for model in ("source", "early"):
        by_model[model]["interval"] = None
    found = cells(tables.summary_table(typed(report), "reconstruction"))
    label = "AKD (MediaPipe) ↓"
    assert (found[label, "misses left out"][0].text, found[label, "misses left out"][0].note) == (
        "3.00",
        "[2.60, 3.40]",
    )
    assert found[label, "misses counted"][0].text == "7.10"
    assert (found[label, "missed frames"][0].text, found[label, "missed frames"][0].note) == ("10 of 200", "5.0 %")


def test_verdicts() -> None:
    def judged(mean: float | None, interval: tuple | None, better: str) -> tuple[str, str]:
        return tables.judge(Difference(mean=mean, interval=interval, wins=0, ties=0, losses=0, clips=0), better)

    assert judged(-1.0, (-2.0, -0.5), "lower") == ("better", "good")
    assert judged(-1.0, (-2.0, -0.5), "higher") == ("worse", "bad")
    assert judged(-1.0, (-2.0, 0.0), "lower") == ("undecided", "")
    assert judged(0.0, (0.0, 0.0), "lower") == ("undecided", "")
    assert judged(-1.0, None, "lower") == ("no interval", "")
    assert judged(None, (None, None), "lower") == ("no interval", "")


def test_differences_are_against_the_one_baseline(report: dict[str, Any]) -> None:
    found = tables.difference_tables(typed(report), "reconstruction")
    assert [table.caption for table in found] == [
        "Reconstruction: puppets minus early",
        "Reconstruction: source minus early",
    ]
    protocol = report["protocols"]["reconstruction"]
    for group in found[0].groups:
        metric = group.head.href.removeprefix("metric-")
        difference, interval, relative, verdict, clips = group.rows[0]
        entry = protocol["differences"][metric]["puppets"]
        assert difference.value == entry["mean"]
        assert clips.shares == (entry["wins"], entry["ties"], entry["losses"]) and sum(clips.shares) == entry["clips"]
        if report["metrics"][metric]["better"] == "lower":
            base = protocol["summary"][metric]["early"]["clip_mean"]
            assert float(relative.text.replace("−", "-").rstrip(" %")) == pytest.approx(
                100 * entry["mean"] / base, abs=1
            )
        else:
            assert relative.text == "–"


def test_findings_count_and_name() -> None:
    report = example_report(names=("reconstruction",))
    differences = report["protocols"]["reconstruction"]["differences"]
    for metric, span in (("l1", [-2, -1]), ("psnr", [-2, -1]), ("ssim", [-1, 1]), ("jitter", None)):
        differences[metric]["puppets"]["interval"] = span
    for metric in set(differences) - {"l1", "psnr", "ssim", "jitter"}:
        del differences[metric]
    (sentence,) = sentences.findings(typed(report))
    assert sentence.startswith(
        "Reconstruction, puppets against early: better on 1 of 4 metrics (L1), worse on 1 (PSNR), "
        "undecided on 1 (SSIM), no interval on 1 (Jitter). L1: puppets 0.0"
    )
    assert sentences.counted({"better": ["a", "b", "c"], "worse": []}) == "better on all 3 metrics"
    assert sentences.counted({"better": [], "worse": ["a", "b"]}) == "worse on both metrics"
    assert sentences.counted({"undecided": ["a"]}) == "undecided on the only metric"
    assert sentences.counted({"better": list("abcde"), "worse": ["f"]}) == "better on 5 of 6 metrics, worse on 1 (f)"
    assert sentences.counted({"better": []}) == ""


def test_one_identity_has_no_interval_and_the_report_says_so(tmp_path: Path) -> None:
    report = example_report(identities=1, clips_each=3)
    assert all(e["interval"] is None for by in report["protocols"]["reconstruction"]["summary"].values()
               for e in by.values())  # fmt: skip
    assert any("One identity only: no interval" in sentence for sentence in sentences.warnings(typed(report)))
    for table in tables.difference_tables(typed(report), "reconstruction"):
        assert {row[1].text for group in table.groups for row in group.rows} == {"none"}
        assert {row[3].text for group in table.groups for row in group.rows} == {"no interval"}
    page = render_page(typed(report), tmp_path)
    assert "One identity only" in page and "In brackets" not in page
    assert sentences.warnings(typed(example_report(identities=3))) == [], "their intervals hold what they promise"


def test_warnings_come_first(report: dict[str, Any], tmp_path: Path) -> None:
    report = deepcopy(report)
    report["data"] |= {"split_overlap": ["id10282", "id10306"], "warnings": ["mp4 as truth"]}
    failure = {"protocol": "reconstruction", "clip": "c1", "model": "early", "reason": "c1.mp4: is damaged"}
    report["failures"] = [failure, failure | {"model": "puppets"}]
    found = sentences.warnings(typed(report))
    assert found[0].startswith("2 identities are in both the training and the test split (id10282, id10306)")
    assert found[1] == "mp4 as truth" and found[2].startswith("1 clip failed")
    for text in (render_page(typed(report), tmp_path), render_markdown(typed(report)), terminal_table(typed(report))):
        assert 0 < text.index("id10306") < text.index("0.0"), "before the numbers"
        assert "c1.mp4: is damaged" in text


def test_a_protocol_without_numbers_says_so(report: dict[str, Any], tmp_path: Path) -> None:
    report = deepcopy(report)
    protocol = report["protocols"]["reconstruction"]
    protocol |= {"summary": {}, "differences": {}, "identities": {}, "over_time": {}, "gallery": []}
    protocol["clips"] = [clip | {"values": {}} for clip in protocol["clips"]]
    assert tables.summary_table(typed(report), "reconstruction").notes == [
        "None of the computed metrics applies here, so there are no numbers."
    ]
    for text in (render_page(typed(report), tmp_path), render_markdown(typed(report))):
        assert "None of the computed metrics applies here, so there are no numbers." in text


def test_thousands_of_failures_are_counted_not_listed(report: dict[str, Any]) -> None:
    report = deepcopy(report)
    failure = {"protocol": "reconstruction", "clip": "c1", "model": "early", "reason": "is damaged"}
    report["failures"] = [failure | {"clip": f"c{i}"} for i in range(3000)]
    table = tables.failures_table(typed(report))
    assert table is not None and len(table.groups) == 100 and table.notes == [
        "The first 100 of 3000; report.json has them all."
    ]  # fmt: skip
    printed = terminal_table(typed(report))
    assert printed.count("is damaged") == 20 and "and 2980 more" in printed


def test_one_model_without_a_baseline(tmp_path: Path) -> None:
    report = example_report(models=("puppets",))
    assert (
        sentences.title(typed(report)) == "puppets" and tables.difference_tables(typed(report), "reconstruction") == []
    )
    page = render_page(typed(report), tmp_path)
    assert "Clip by clip" not in page and "Paired differences" not in page and "Mean over time" in page
    assert "minus" not in terminal_table(typed(report))


def test_nothing_at_all_was_measured(tmp_path: Path) -> None:
    report = example_report()
    empty = {"summary": {}, "differences": {}, "identities": {}, "clips": [], "over_time": {}, "gallery": []}
    report["protocols"], report["metrics"] = {"reconstruction": empty}, {}
    assert not schema.unknown_names(typed(report))
    assert "No clip was completed" in render_page(typed(report), tmp_path)
    assert render_markdown(typed(report)) and terminal_table(typed(report))


def test_published_numbers_have_a_table_of_their_own(report: dict[str, Any]) -> None:
    table = tables.published_table()
    for group, row in zip(table.groups, PUBLISHED, strict=True):
        for cell, number in zip(group.rows[0], row.numbers.values(), strict=False):
            assert cell.value == float(number.text) and cell.href.startswith("https://")
    assert [cell.text for cell in table.groups[0].rows[0]][:2] == ["1.294", "0.140"]
    for name in report["protocols"]:
        columns = [tables.summary_table(typed(report), name), *tables.difference_tables(typed(report), name)]
        assert not any(method.method in column for table in columns for column in table.columns for method in PUBLISHED)


# -------------------------------------------------------------------------------------------------------------- schema


def test_the_documented_schema_is_the_checked_one() -> None:
    """docs/report_schema.json is what the types write; docs/report_schema.md explains each of its keys."""
    written = schema.Report.model_json_schema()
    assert json.loads((DOCS / "report_schema.json").read_text()) == written
    text = (DOCS / "report_schema.md").read_text()
    keys = {key for part in (written, *written["$defs"].values()) for key in part.get("properties", {})}
    assert schema.SCHEMA in text and {key for key in keys if f"`{key}`" not in text} == set()


def test_faults_are_gathered_and_named(report: dict[str, Any], tmp_path: Path) -> None:
    def faults(faulty: dict[str, Any]) -> str:
        (tmp_path / "report.json").write_text(json.dumps(faulty))
        with pytest.raises(InputError) as error:
            read_report(tmp_path / "report.json")
        return str(error.value)

    faulty = deepcopy(report)
    del faulty["data"]["split"]
    faulty["models"][0]["name"] = 3
    summary = faulty["protocols"]["reconstruction"]["summary"]["l1"]["early"]
    summary |= {"interval": [1, "2"], "frames": -1, "missed": True}
    said = faults(faulty)
    for fault in ("/data/split is missing", "/models/0/name: ", "/summary/l1/early/interval/1: ", "/early/frames: ",
                  "/early/missed: "):  # fmt: skip
        assert fault in said
    faulty = deepcopy(report)
    del faulty["metrics"]["l1"]
    faulty["models"].pop()
    assert re.search("metric 'l1' is not described.*model 'early' is not in /models", faults(faulty))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not a JSON text file"),
        ("[]", "the schema is None"),
        ('{"schema": "fomm-report/2"}', "the schema is 'fomm-report/2', must be 'fomm-report/1'"),
        ('{"schema": "fomm-report/1"}', "/run is missing"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        write_report(tmp_path)
    assert str(tmp_path / "report.json") in str(error.value)
    assert not (tmp_path / "report.html").exists()


# ------------------------------------------------------------------------------------------------ hostile names, output


def hostile_report() -> dict[str, Any]:
    """Every text of a report is as bad as it can be."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [spoil(inner, key) for inner in value]
        kept = ("schema", "role", "better", "kind", "media", "metric", "protocol")
        return HOSTILE if isinstance(value, str) and key not in kept else value

    report = example_report(identities=2, models=("puppets", "early"))
    report["failures"] = [{"protocol": "reconstruction", "clip": "c", "model": "early", "reason": "r"}]
    report["data"] |= {"split_overlap": ["a"], "warnings": ["w"]}
    spoiled = spoil(report)
    for model, name in zip(spoiled["models"], ("puppets", "early"), strict=True):
        model["name"] = name
    text = json.dumps(spoiled).replace('"puppets"', json.dumps("p" + HOSTILE)).replace('"id00"', json.dumps(HOSTILE))
    return json.loads(text)


class Structure(HTMLParser):
    """Which tags, attributes and links a page has; tags must be balanced."""

    VOID = {"meta", "link", "img", "br", "circle", "line", "rect", "path", "polygon"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_from_strangers_stay_text_on_the_page(tmp_path: Path) -> None:
    report = hostile_report()
    assert not schema.unknown_names(typed(report))
    structure = Structure()
    structure.feed(render_page(typed(report), tmp_path))
    assert structure.open == []
    assert "script" not in structure.tags and HOSTILE[:25] in structure.text
    assert not any(name.startswith("on") for name, _ in structure.attributes)
    links = {value for name, value in structure.attributes if name in ("href", "src") and value}
    assert {
        link for link in links if not link.startswith(("#", "data:", "https://github.com/AliaksandrSiarohin/"))
    } == set()


def test_names_from_strangers_stay_text_in_markdown() -> None:
    text = render_markdown(typed(hostile_report()))
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
    assert escape_markdown("a|b <i> *c* `d` [e](f)") == r"a\|b &lt;i&gt; \*c\* \`d\` \[e\](f)"


def test_names_from_strangers_do_not_steer_the_terminal() -> None:
    text = terminal_table(typed(hostile_report()))
    assert all(character.isprintable() or character == "\n" for character in text)


def test_markdown_tables_are_whole_and_hold_the_numbers(report: dict[str, Any]) -> None:
    text = render_markdown(typed(report))
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) == 1 + 2 * 3 + 2, "models, per protocol values and two differences, not computed, published"
    for block in blocks:
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    for name in report["protocols"]:
        for key, row in cells(tables.summary_table(typed(report), name)).items():
            for cell in row:
                assert (f"**{cell.text}**" if cell.best else cell.text) in text, key
    assert "aed\\_openface" in text


def test_terminal_columns_are_aligned(report: dict[str, Any]) -> None:
    lines = terminal_table(typed(report)).splitlines()
    start = lines.index(next(line for line in lines if line.startswith("Metric ")))
    column = lines[start].index("puppets")
    rows = [line for line in lines[start + 2 :][:12]]
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)
    assert "not computed: aed_openface: nn4.small2.v1.pt is not on this machine" in "\n".join(lines)


def test_clips_are_embedded_only_from_the_reports_folder(tmp_path: Path) -> None:
    report = example_report(identities=2, names=("reconstruction",))
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    folder = tmp_path / "report"
    gallery = report["protocols"]["reconstruction"]["gallery"]
    gallery[0]["media"], gallery[1]["media"], gallery[2]["media"] = "../secret.mp4", str(secret), "media/link.mp4"
    gallery[3]["media"] = "report.json"
    (folder / "media").mkdir(parents=True)
    (folder / "media" / "link.mp4").symlink_to(secret)
    write_example(folder, report)
    page, markdown = write_report(folder)
    assert page.read_text().count("is not in the report's folder") == 4
    assert page.read_text().count("data:video/mp4;base64,") == len(gallery) - 4
    assert markdown.name == "report.md" and sorted(p.name for p in folder.iterdir()) == [
        "media", "report.html", "report.json", "report.md",
    ]  # fmt: skip
    assert read_report(folder / "report.json") == typed(report)


# -------------------------------------------------------------------------------------------------------------- charts


def test_axes_have_round_ticks_that_hold_the_values() -> None:
    for values in (
        [0.0213, 0.0387],
        [19.2, 27.3],
        [0.64, 0.92],
        [3.0],
        [0.0, 0.0],
        [-2.0, 5.0],
        [1e-6, 3e-6],
        [100, 1e5],
    ):
        axis = charts.make_axis(values, 0, 100)
        assert axis.low <= min(values) and max(values) <= axis.high
        assert 2 <= len(axis.ticks) <= 8
        labels = [axis.label(tick) for tick in axis.ticks]
        assert len(set(labels)) == len(labels)
        assert [axis(axis.low), axis(axis.high)] == [0, 100]
        for tick, label in zip(axis.ticks, labels, strict=True):
            shown = float(label.replace("−", "-").replace("\u202f", ""))
            assert shown == pytest.approx(tick, abs=1e-9 * max(1, abs(tick)))


def test_charts_without_values_are_left_out_and_gaps_are_bridged() -> None:
    series = charts.Series("m", "c0", [None, None], ["a", "b"])
    assert charts.distribution([series], "L1") is None
    assert charts.over_time([series], "L1") is None
    assert charts.scatter(series, [series], "L1", "lower") is None
    line = charts.over_time([charts.Series("m", "c0", [1.0, None, 3.0, None], [])], "L1")
    assert re.search(r'<path d="M[\d.]+ [\d.]+L[\d.]+ [\d.]+"', line)


def test_what_a_chart_shows_is_told_in_words() -> None:
    baseline = charts.Series("old", "c1", [2.0, 2.0, 2.0], ["a", "b", "<c>"])
    other = charts.Series("new", "c0", [1.0, 3.0, 1.5], ["a", "b", "<c>"])
    svg = charts.scatter(baseline, [other], "L1", "lower")
    assert 'aria-label="L1, clip by clip against old: new is better on 2 of 3 clips"' in svg
    assert svg.count("<circle") == 3 and "&lt;c&gt;: new 1.50, old 2.00" in svg
    assert "new is better on 1 of 3 clips" in charts.scatter(baseline, [other], "PSNR", "higher")
    many = charts.Series("many", "c0", [float(v % 7) for v in range(1000)], [str(v) for v in range(1000)])
    assert charts.distribution([many], "L1").count("<circle") == 0, "one path for many dots"


def test_intervals_are_drawn_with_better_on_the_right() -> None:
    def centre(interval: tables.Interval) -> float:
        return float(re.search(r'<circle cx="([\d.]+)"', charts.interval_bar(interval))[1])

    assert centre(tables.Interval(-1.0, -2.0, -0.5, "lower")) > 60 > centre(tables.Interval(-1.0, -2.0, -0.5, "higher"))
    assert "good" in charts.interval_bar(tables.Interval(-1.0, -2.0, -0.5, "lower"))
    assert "open" in charts.interval_bar(tables.Interval(-1.0, -2.0, 0.5, "lower"))
