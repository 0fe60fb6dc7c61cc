"""The forms in which results are written: the page, LaTeX, CSV files, text."""
