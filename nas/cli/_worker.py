"""A process that `--workers` starts: `python -m nas.cli._worker NUMBER VERB ...` runs a command line of nas.

It tells the process that started it how far it is, and ends with it. See `nas.search.workers.pool`.
"""

from __future__ import annotations

import sys


def main(number: int, arguments: list[str]) -> None:
    """Run a command line of nas as a worker.

    Args:
        number: Number of the worker, from 1; it decides which graphics card the worker uses.
        arguments: The command line, without `nas`.
    """
    from nas.search.workers.child import child_of_a_pool, ending_in_order

    with ending_in_order(), child_of_a_pool():
        from torch.cuda import device_count

        from nas.cli import main as nas
        from nas.environment import use_graphics_card

        use_graphics_card(number, device_count())
        sys.argv = ["nas", *arguments]
        nas()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
