import base64
import hashlib
import importlib.resources
import re
import sys
import urllib.parse
from html.parser import HTMLParser

import markupsafe
import numpy as np
import pytest

from jaxspk import reports
from jaxspk.errors import ArgumentError, MissingExtraError
from jaxspk.reports import _html

HOSTILE = """"><script>alert('x')</script>' onload='x {{ 7*7 }} & \x07\udce9 .wav"""
SHOWN = str(markupsafe.escape(HOSTILE)).replace("\x07", "\ufffd").replace("\udce9", "\ufffd")
VOID = {"meta", "link", "img", "br", "hr", "input"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Page(HTMLParser):
    """Every tag and attribute, the text by tag, and whether each tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and data.strip():
            self.text.setdefault(self.open[-1], []).append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def everything(text: str) -> reports.Report:
    """One of each block, with the same text wherever text can stand."""
    sound = reports.Sound(np.ones(80, np.float32), 8000, text, text, source=5)
    figure = reports.Figure(PIXEL, text, text)
    return reports.Report(
        title=text,
        subtitle=text,
        facts=reports.Facts([reports.Fact(text, text, text, text), reports.Fact("n", 2)]),
        sections=[
            reports.Section(
                text,
                [
                    text,
                    reports.Text(f"{text}\n\n{text}", note=True),
                    reports.Facts([reports.Fact(text, 1.0)]),
                    reports.Listing(text, text),
                    reports.Table([text, "n"], [[text, 1], [text, 2.5]], text, best={"n": "highest"}),
                    reports.Table([text, "n"], [[text, None]] * 9, text, baselines=[text], folded=True),
                    figure,
                    sound,
                    reports.Sounds(text, {text: [sound, sound]}, text, [figure]),
                ],
                text=text,
            )
        ],
        provenance=reports.Provenance("2026-11-21", text, 0, {text: text}, text, text),
    )


@pytest.fixture(scope="module")
def sample_page(sample_report) -> str:
    return reports.render(sample_report)


def test_tags_are_balanced_and_names_unique(sample_page):
    for text in (sample_page, reports.render(everything(HOSTILE)), reports.render(reports.Report("Empty", []))):
        page = Page(text)
        assert not page.open
        names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(set(names)) == len(names)
        targets = {attributes["href"] for attributes in page.attributes("a")}
        assert targets <= {f"#{name}" for name in names}


def test_text_is_shown_not_obeyed():
    text = reports.render(everything(HOSTILE))
    page = Page(text)
    assert "alert('x')" not in text
    assert len(page.attributes("script")) == 1
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "7*7" in text and "49" not in "".join(page.text["p"])
    # title, facts, section, blocks, provenance: all of them came through, escaped once.
    assert text.count(SHOWN) > 30
    assert "&amp;lt;" not in text


def test_control_characters_and_halves_of_surrogates_are_replaced():
    text = reports.render(everything(HOSTILE))
    assert "\x07" not in text and "\udce9" not in text
    text.encode("utf-8")


def test_nothing_is_asked_of_any_server(sample_page):
    page = Page(sample_page)
    fetching = {"src", "href", "srcset", "poster", "data", "action", "background", "xlink:href", "formaction"}
    addresses = [value or "" for _, attributes in page.tags for name, value in attributes.items() if name in fetching]
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    style = "".join(page.text["style"])
    assert "@import" not in style and "url(" not in style and "@font-face" not in style
    assert not page.attributes("iframe") and not page.attributes("form")
    assert not [attributes for _, attributes in page.tags if "style" in attributes]


def test_pictures_hold_no_address_but_names_of_standards(sample_page):
    pictures = [attributes["src"] or "" for attributes in Page(sample_page).attributes("img")]
    assert len(pictures) == 7
    for picture in pictures:
        assert picture.startswith("data:image/svg+xml,")
        svg = urllib.parse.unquote(picture.partition(",")[2])
        assert "<script" not in svg
        references = re.findall(r"""(?:href|src)=["']([^"']*)|url\(([^)]*)\)""", svg)
        assert all((first or second).startswith(("#", "data:image/png")) for first, second in references)


def test_the_policy_refuses_all_but_the_page_itself(sample_page):
    page = Page(sample_page)
    policy = next(a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    assert rules.pop("img-src") == rules.pop("media-src") == "data:"
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256("".join(page.text[tag]).encode()).digest()
        assert rules.pop(name) == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert not rules


def test_the_page_can_be_read_without_seeing_it(sample_page):
    page = Page(sample_page)
    assert all((attributes.get("alt") or "").strip() for attributes in page.attributes("img"))
    assert all((attributes.get("aria-label") or "").strip() for attributes in page.attributes("audio"))
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.attributes("th"))
    assert page.attributes("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_numbers_stand_in_columns_and_the_best_is_bold(sample_page):
    page = Page(sample_page)
    numbers = [attributes for attributes in page.attributes("td") if "data-value" in attributes]
    assert numbers and all(attributes.get("class") == "number" for attributes in numbers)
    assert len(page.text["strong"]) == 4
    assert any("data-sortable" in attributes for attributes in page.attributes("table"))


def test_the_sample_is_small(sample_page):
    assert len(sample_page) < 2.5e6


def test_writes_the_page_whole(tmp_path, sample_report, sample_page):
    path = reports.write_report(tmp_path / "run" / "report.html", sample_report)
    assert path.read_text(encoding="utf-8") == sample_page
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_templates_are_data_of_the_package():
    names = {entry.name for entry in importlib.resources.files("jaxspk.reports").joinpath("templates").iterdir()}
    assert {"report.html.j2", "report.css", "report.js"} <= names


def test_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    _html._environment.cache_clear()
    with pytest.raises(MissingExtraError, match=r"HTML report.*jaxspk\[reports\]"):
        reports.render(reports.Report("t", []))


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"<html>"])
def test_a_picture_is_png_or_svg(image):
    with pytest.raises(ArgumentError, match="PNG or SVG"):
        reports.Figure(image, "caption", "alt")


def test_a_picture_has_words():
    with pytest.raises(ArgumentError, match="alt"):
        reports.Figure(PIXEL, "caption", " ")


@pytest.mark.parametrize("seconds, text", [(0.04, "0.0 s"), (6.24, "6.2 s"), (59.94, "59.9 s"), (65.0, "1:05 min")])
def test_durations_are_read_aloud(seconds, text):
    assert _html._clock(seconds) == text
