"""Figures, and the report at the end of a run."""

from __future__ import annotations

from nas.report.comparison import draw_contact_sheet, plot_contact_sheet, sample_all, student_and_teacher
from nas.report.front_figure import draw_front, latency_caption, plot_front
from nas.report.front_listing import layers_text
from nas.report.latency_errors import draw_error_contributions, plot_error_contributions
from nas.report.latency_figure import draw_latency_check, plot_latency_check
from nas.report.latency_heat_map import draw_latency_heat_map, plot_latency_heat_map
from nas.report.summary import Picture, Section, write_summary

__all__ = [
    "Picture",
    "Section",
    "draw_contact_sheet",
    "draw_error_contributions",
    "draw_front",
    "draw_latency_check",
    "draw_latency_heat_map",
    "latency_caption",
    "layers_text",
    "plot_contact_sheet",
    "plot_error_contributions",
    "plot_front",
    "plot_latency_check",
    "plot_latency_heat_map",
    "sample_all",
    "student_and_teacher",
    "write_summary",
]
