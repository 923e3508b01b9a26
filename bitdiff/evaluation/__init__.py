"""Evaluation: scores of trained models, sweeps over samplers, comparisons of runs, losses, trajectories and speed."""
