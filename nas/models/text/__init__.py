"""Text encoders: from captions to the context that cross-attention reads."""
