"""Numbers that are not finite: where they are, and so where they are from."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nas.training.sharing import local_rows


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first tensor with a number that is not finite, in what this process holds of it; `None` for none."""
    for name, tensor in tensors.items():
        held = local_rows(tensor)
        if (held.is_floating_point() or held.is_complex()) and not torch.isfinite(held).all():
            return name
    return None
