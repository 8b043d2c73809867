"""Model architectures: shapes, names of weights, and wiring over `colonnade.engine.kernels.ops`.

A module is one noun. A piece (attention, feed-forward, ...) says which tensors it expects, takes them in the kernels'
form, and is called with `Ops`. Shapes are named by suffix; the legend stands in `kernels/ops.py`.
"""
