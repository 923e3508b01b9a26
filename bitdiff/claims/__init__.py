"""Claims of the papers, and some of our own, checked with several seeds, with a verdict for each."""
