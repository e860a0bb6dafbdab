from .config import RunConfig as RunConfig
from .config import load_run as load_run
from .run import run_pipeline as run_pipeline
from .runner import Stage as Stage
from .runner import StageReport as StageReport
from .runner import StageResult as StageResult
from .runner import run_stages as run_stages
