"""Export: the bundle a user takes away."""

from nas.export.bundle import FORMATS, export_bundle
from nas.export.report import BundleReport, ConvertedFile, ParityReport

__all__ = ["FORMATS", "BundleReport", "ConvertedFile", "ParityReport", "export_bundle"]
