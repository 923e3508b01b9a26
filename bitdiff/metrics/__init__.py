"""Measures of generated data against real data."""
