"""The events page, taken apart: its state in a URL, its rows, its chart, one event in full. Pure but for `page.py`."""
