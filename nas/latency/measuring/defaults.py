"""The defaults of measurement settings, as plain numbers: the settings and the command line read them here."""

ROUNDS = 30
INTERVAL_PERCENT = 1.0
MAX_SECONDS = 3.0
MIN_SECONDS = 20.0
DRIFT_PERCENT = 10.0

FIT_MAX_SECONDS = 10.0
FIT_MIN_SECONDS = 60.0

PAIRS = 6
MAX_PAIRS = 48
MAX_COPIES = 32
COOL_DOWN_S = 20.0
