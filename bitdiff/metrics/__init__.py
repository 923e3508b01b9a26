"""Metrics that compare generated data with real data."""
