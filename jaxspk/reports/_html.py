"""The page: one HTML file that opens offline, asks no server, and runs nothing it did not bring."""

import base64
import functools
import hashlib
import re
import urllib.parse
from pathlib import Path
from typing import Any

from jaxspk.errors import MissingExtraError
from jaxspk.reports import _sounds, _timelines, _write
from jaxspk.reports._blocks import Facts, Figure, Listing, Text
from jaxspk.reports._report import Block, Report, Section
from jaxspk.reports._sounds import Sound, Sounds
from jaxspk.reports._tables import Table, format_cell
from jaxspk.reports._timelines import Timeline

# What a file name may hold but a page may not: control characters and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_TIMELINE_FILTERS = (
    _timelines.axis,
    _timelines.described,
    _timelines.lane_box,
    _timelines.lane_path,
    _timelines.lane_times,
    _timelines.level_box,
    _timelines.level_path,
    _timelines.sound_address,
)

# Neither what ends an address or an attribute, nor what the template would escape again.
_KEPT_IN_ADDRESSES = " !$()*+,-./:;=?@[]_~"


def render(report: Report) -> str:
    """The page as HTML text.

    All text is escaped. Pictures and sounds are in the page as ``data:`` addresses, and its content security policy
    refuses everything else: no address is fetched, no script runs but the page's own (by its hash). A recording that
    the reader opens himself, for a timeline without sound, is played from where it lies.

    Raises:
      MissingExtraError: jinja2 is not installed.
    """
    environment = _environment()
    style, script = (
        environment.loader.get_source(environment, name)[0].strip() for name in ("report.css", "report.js")
    )
    return str(
        environment.get_template("report.html.j2").render(
            report=report,
            sections=_addressed(report),
            style=style,
            script=script,
            policy=_policy(style, script, opens_files=_opens_files(report)),
        )
    )


def write_report(path: Path | str, report: Report) -> Path:
    """Writes the page to one file, which is whole or not there at all; returns its path.

    Raises:
      MissingExtraError: jinja2 is not installed.
    """
    return _write.write_text(path, render(report))


@functools.cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("Writing an HTML report", "reports") from error
    environment: Any = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxspk.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["cell"] = format_cell
    environment.filters["image"] = _image
    environment.filters["clock"] = _clock
    environment.filters["sound"] = _sounds.data_uri
    environment.filters["outline"] = _sounds.outline
    environment.globals["outline_box"] = f"0 0 {_sounds.COLUMNS} {_sounds.HEIGHT}"
    for timeline_filter in _TIMELINE_FILTERS:
        environment.filters[timeline_filter.__name__] = timeline_filter
    environment.globals["voice_colours"] = _timelines.COLOURS
    for kind in (Text, Facts, Listing, Table, Figure, Sound, Sounds, Timeline):
        environment.tests[kind.__name__.lower()] = functools.partial(_is, kind)
    return environment


def _is(kind: type, block: Block) -> bool:
    return isinstance(block, kind)


def _printable(value: Any) -> Any:
    if isinstance(value, str) and _UNPRINTABLE.search(value):
        return type(value)(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value))
    return value


def _addressed(report: Report) -> list[dict[str, Any]]:
    """The sections with their addresses in the page and with strings and introductions as text blocks."""
    return [
        {
            "address": f"section-{number}",
            "heading": section.heading,
            "blocks": [Text(block) if isinstance(block, str) else block for block in _with_text(section)],
        }
        for number, section in enumerate(report.sections, start=1)
    ]


def _with_text(section: Section) -> list[Block]:
    return [*([section.text] if section.text else []), *section.blocks]


def _opens_files(report: Report) -> bool:
    """Whether the reader may open recordings in the page."""
    blocks = (block for section in report.sections for block in section.blocks)
    return any(isinstance(block, Timeline) and block.sound is None for block in blocks)


def _policy(style: str, script: str, *, opens_files: bool) -> str:
    """The content security policy: all refused but what is in the page, style and script by their hashes."""
    media = "data: blob:" if opens_files else "data:"
    return (
        f"default-src 'none'; img-src data:; media-src {media}; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _image(figure: Figure) -> str:
    if figure.media_type == "image/svg+xml":
        # Text stays text: base64 would make it, and the pixels that it holds in base64 already, a third longer.
        return f"data:image/svg+xml,{urllib.parse.quote(figure.image, safe=_KEPT_IN_ADDRESSES)}"
    return f"data:{figure.media_type};base64,{base64.b64encode(figure.image).decode('ascii')}"


def _clock(seconds: float) -> str:
    """A duration as people say it: "6.2 s", "1:05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"
