"""Planning: the training step and the sampler compiled for TPU slices that are not present, and what they will need."""
