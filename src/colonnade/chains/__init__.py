"""Chains: typed steps in processes of their own, called as if they were here. See docs/chains.md."""

from colonnade.chains.client import Answer, Client, connect, inline
from colonnade.chains.fanning import map, text, together
from colonnade.chains.options import Options
from colonnade.chains.steps import Step, depends, entry

__all__ = [
    "Answer",
    "Client",
    "Options",
    "Step",
    "connect",
    "depends",
    "entry",
    "inline",
    "map",
    "text",
    "together",
]
