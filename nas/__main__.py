"""`python -m nas`, and what `accelerate launch -m nas train ...` starts on every process."""

from nas.cli import main

main()
