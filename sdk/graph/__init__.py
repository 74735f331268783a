"""The portable pipeline: all that a runner gets. Imports utils, error and coders.

To change what a graph holds open `model` (and `serialize`, its JSON form); the names of steps, coders and
window functions, `urns`; how graphs are put together, `build`; what is refused, `validate`; how they look,
`render`; how two of them differ, `compare`.
"""
