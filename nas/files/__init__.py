"""Files of the user and of this program: nothing is half-written, nothing of the user's is lost.

The rest of nas writes through `atomic_write` and `atomic_folder`, reads configuration through `load_yaml`, and asks
`check_output_file` and `check_output_folder` before work begins whether its result can be kept.
"""

from nas.files.digests import FOR_DIGEST as FOR_DIGEST
from nas.files.digests import derive_seed as derive_seed
from nas.files.digests import file_digest as file_digest
from nas.files.digests import fingerprint as fingerprint
from nas.files.digests import sampled_digest as sampled_digest
from nas.files.folders import FOLDER_MARKER as FOLDER_MARKER
from nas.files.folders import atomic_folder as atomic_folder
from nas.files.folders import require_whole as require_whole
from nas.files.locks import hold as hold
from nas.files.locks import lock as lock
from nas.files.locks import lock_owner as lock_owner
from nas.files.outputs import check_output_file as check_output_file
from nas.files.outputs import check_output_folder as check_output_folder
from nas.files.outputs import check_suffix as check_suffix
from nas.files.outputs import refuse_overlap as refuse_overlap
from nas.files.paths import UserPath as UserPath
from nas.files.paths import inside as inside
from nas.files.paths import is_user_path as is_user_path
from nas.files.paths import user_path as user_path
from nas.files.reading import StrictModel as StrictModel
from nas.files.reading import load_yaml as load_yaml
from nas.files.reading import parse as parse
from nas.files.reading import read_json as read_json
from nas.files.reading import read_text as read_text
from nas.files.reading import validation_errors as validation_errors
from nas.files.temporaries import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from nas.files.temporaries import remove_temporaries as remove_temporaries
from nas.files.temporaries import temporary_folder as temporary_folder
from nas.files.writing import atomic_write as atomic_write
from nas.files.writing import storage_errors as storage_errors
from nas.files.writing import write_json as write_json
from nas.files.writing import write_text as write_text
from nas.files.writing import write_yaml as write_yaml
