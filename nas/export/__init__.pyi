from .bundle import FORMATS as FORMATS
from .bundle import export_bundle as export_bundle
from .manifest import BundledFile as BundledFile
from .manifest import Manifest as Manifest
from .manifest import Network as Network
from .manifest import ParityReport as ParityReport
from .manifest import json_schema as json_schema
