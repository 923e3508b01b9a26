"""Claims: what the papers say, checked on real data with several seeds, with a verdict for each."""
