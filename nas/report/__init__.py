"""Figures, and the report at the end of a run."""

from __future__ import annotations

from nas.report.front_figure import draw_front, latency_caption, layers_text, plot_front
from nas.report.latency_figure import plot_latency_check
from nas.report.summary import Picture, Section, write_summary

__all__ = [
    "Picture",
    "Section",
    "draw_front",
    "latency_caption",
    "layers_text",
    "plot_front",
    "plot_latency_check",
    "write_summary",
]
