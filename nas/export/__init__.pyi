from .bundle import FORMATS as FORMATS
from .bundle import export_bundle as export_bundle
from .report import BundleReport as BundleReport
from .report import ConvertedFile as ConvertedFile
from .report import ParityReport as ParityReport
