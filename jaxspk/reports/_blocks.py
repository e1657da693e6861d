"""The simple blocks of a report. Plain data: no block draws or writes anything."""

import dataclasses
from collections.abc import Sequence

from jaxspk.errors import ArgumentError
from jaxspk.reports._tables import Cell


@dataclasses.dataclass(frozen=True)
class Text:
    """Paragraphs, separated by empty lines. Plain text: whatever it holds is shown as it is.

    Attributes:
      text: the paragraphs.
      note: set it apart, as a remark one should not miss.
    """

    text: str
    note: bool = False

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs, without the space around them."""
        return [paragraph.strip() for paragraph in self.text.split("\n\n") if paragraph.strip()]


@dataclasses.dataclass(frozen=True)
class Fact:
    """One number worth remembering: what it is, the number, its unit, a remark."""

    label: str
    value: Cell
    unit: str = ""
    detail: str = ""
    format: str = ""
    """The number's format specification; two decimals by default, integers whole."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """The few numbers a hurried reader should see, side by side."""

    facts: Sequence[Fact]


@dataclasses.dataclass(frozen=True)
class Listing:
    """Text of a program or file, such as a configuration, folded away under its title."""

    title: str
    text: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
      image: the bytes of an SVG or PNG file.
      caption: what it shows and how to read it; printed under it.
      alt: the picture in words, with its main numbers, for those who do not see it.

    Raises:
      ArgumentError: the bytes are neither SVG nor PNG, or ``alt`` is empty.
    """

    image: bytes
    caption: str
    alt: str

    def __post_init__(self) -> None:
        _ = self.media_type
        if not self.alt.strip():
            raise ArgumentError("`alt` must say what the picture shows, got an empty text.")

    @property
    def media_type(self) -> str:
        """``image/svg+xml`` or ``image/png``, by the first bytes."""
        if self.image.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        if b"<svg" in self.image[:1000]:
            return "image/svg+xml"
        raise ArgumentError(f"`image` must be the bytes of a PNG or SVG file, got {self.image[:12]!r}.")
