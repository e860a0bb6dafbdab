"""Reading and checking plain data: YAML and JSON, decimal numbers, and errors of one line."""

from nas.validation.complaints import complaint
from nas.validation.kinds import other_kind
from nas.validation.known import known_text
from nas.validation.numbers import decimal_float, decimal_int, strict_scalars
from nas.validation.plain_json import load_json
from nas.validation.plain_yaml import dump_plain, load_plain

__all__ = [
    "complaint",
    "decimal_float",
    "decimal_int",
    "dump_plain",
    "known_text",
    "load_json",
    "load_plain",
    "other_kind",
    "strict_scalars",
]
