"""Not for a worker: see demo/workers.py."""

raise ModuleNotFoundError("a worker's image has no matplotlib", name="matplotlib")
