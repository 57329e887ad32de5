"""The command line: one module for each command, with ``add`` for its arguments and ``run`` for its work."""
