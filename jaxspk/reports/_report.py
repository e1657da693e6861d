"""A report and its sections."""

import dataclasses
from collections.abc import Sequence

from jaxspk.reports._blocks import Facts, Figure, Listing, Text
from jaxspk.reports._provenance import Provenance
from jaxspk.reports._sounds import Sound, Sounds
from jaxspk.reports._tables import Table
from jaxspk.reports._timelines import Timeline

Block = str | Text | Facts | Listing | Table | Figure | Sound | Sounds | Timeline
"""A piece of a section; a string is a :class:`Text`."""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report with a heading, which also stands in the table of contents.

    Attributes:
      heading: a few words.
      blocks: what it shows, in order.
      text: paragraphs before the blocks, separated by empty lines.
    """

    heading: str
    blocks: Sequence[Block] = ()
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """One page.

    Attributes:
      title: what was done, a few words.
      sections: in the order they are read.
      subtitle: a sentence under the title.
      facts: the headline numbers, under the subtitle.
      provenance: where the numbers come from, printed at the end.
    """

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    facts: Facts | None = None
    provenance: Provenance | None = None
