"""Colonnade: mission-critical inference.

The rooms of the house, from top to bottom; a room imports only what stands below it (see ARCHITECTURE.md).
"""

__version__ = "0.1.0"
