"""What a training run would take, worked out before it is started."""
