from .kinds import COMPRESSED_KINDS as COMPRESSED_KINDS
from .kinds import WEIGHT_KINDS as WEIGHT_KINDS
from .kinds import CompressedKind as CompressedKind
from .kinds import WeightFormat as WeightFormat
from .kinds import WeightKind as WeightKind
from .kinds import compressed_kind as compressed_kind
from .kinds import weight_format as weight_format
from .modules import compress_module as compress_module
