"""Engines: callables that load the weights of one role. Each keeps its library's quirks to itself."""
