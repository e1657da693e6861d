"""Reports from results: one HTML file that opens offline, Markdown and CSV for the docs.

Read in order: a :class:`Report` is made of sections, a :class:`Section` of blocks (text, tables, figures,
sounds); the drawing functions turn arrays into :class:`Figure` blocks; :func:`write_report` writes the
page. Nothing here knows a system: arrays and numbers come in.
"""

from jaxspk.reports._blocks import Fact as Fact
from jaxspk.reports._blocks import Facts as Facts
from jaxspk.reports._blocks import Figure as Figure
from jaxspk.reports._blocks import Listing as Listing
from jaxspk.reports._blocks import Text as Text
from jaxspk.reports._costs import costs_by_length as costs_by_length
from jaxspk.reports._curves import training_curves as training_curves
from jaxspk.reports._html import render as render
from jaxspk.reports._html import write_report as write_report
from jaxspk.reports._improvements import improvement_distribution as improvement_distribution
from jaxspk.reports._improvements import improvement_vs_input as improvement_vs_input
from jaxspk.reports._markdown import write_results_markdown as write_results_markdown
from jaxspk.reports._provenance import Provenance as Provenance
from jaxspk.reports._provenance import provenance as provenance
from jaxspk.reports._report import Block as Block
from jaxspk.reports._report import Report as Report
from jaxspk.reports._report import Section as Section
from jaxspk.reports._separation import embedding_scatter as embedding_scatter
from jaxspk.reports._separation import separation_panel as separation_panel
from jaxspk.reports._separation_report import IMPROVEMENT_COLUMNS as IMPROVEMENT_COLUMNS
from jaxspk.reports._separation_report import example_sounds as example_sounds
from jaxspk.reports._separation_report import improvement_row as improvement_row
from jaxspk.reports._separation_report import scores_table as scores_table
from jaxspk.reports._separation_report import separation_summary as separation_summary
from jaxspk.reports._separation_report import summary_table as summary_table
from jaxspk.reports._separation_report import write_separation_report as write_separation_report
from jaxspk.reports._separation_tables import MISPRINTS as MISPRINTS
from jaxspk.reports._separation_tables import ladder_table as ladder_table
from jaxspk.reports._separation_tables import paper_tables as paper_tables
from jaxspk.reports._separation_tables import score_rows as score_rows
from jaxspk.reports._separation_tables import trainings_table as trainings_table
from jaxspk.reports._sounds import Sound as Sound
from jaxspk.reports._sounds import Sounds as Sounds
from jaxspk.reports._speaker_pictures import distance_curves as distance_curves
from jaxspk.reports._speaker_pictures import speaker_map as speaker_map
from jaxspk.reports._speaker_report import speakers_table as speakers_table
from jaxspk.reports._speaker_report import verification_lines as verification_lines
from jaxspk.reports._speaker_report import write_speaker_report as write_speaker_report
from jaxspk.reports._speaker_tables import comparison_lines as comparison_lines
from jaxspk.reports._speaker_tables import comparison_rows as comparison_rows
from jaxspk.reports._speaker_tables import comparison_tables as comparison_tables
from jaxspk.reports._tables import Cell as Cell
from jaxspk.reports._tables import Table as Table
from jaxspk.reports._tables import write_csv as write_csv
from jaxspk.reports._verification import calibration_plot as calibration_plot
from jaxspk.reports._verification import det_plot as det_plot
from jaxspk.reports._verification import score_histogram as score_histogram
from jaxspk.reports._verification import verification_report as verification_report
from jaxspk.reports._verification import verification_table as verification_table
