"""Planning: compiles the training step and the sampler for TPU slices without TPUs, and reports what they need."""
