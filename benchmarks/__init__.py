"""How fast and how large: ratios, measured side by side in one run on one machine. `make bench` runs all of it.

May know everything; nothing knows it. Each module is a part of the run: `run(bootstrap)` measures and returns its section; the
functions that it measures run in a process of their own each time.
"""
