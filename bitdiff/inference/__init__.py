"""Using trained models: opening runs and exports, drawing samples, writing them to files."""
