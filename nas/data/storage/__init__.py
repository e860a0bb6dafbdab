"""Where decoded clips, indices and rows of tensors are stored."""
