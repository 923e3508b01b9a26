"""Training: state and optimizer, the compiled step, the loop, checkpoints, and the folder of a run."""
