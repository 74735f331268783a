"""How elements become bytes: coders, and the registry that finds one for a type. Imports utils and error.

To change what every coder has, open `coder`; a kind of coder, `primitives`, `containers`, `windowed`,
`pickles`, `row_coder`; the bytes of values of unknown type, `tagged` (plain ones) and `special_types` (the
others), and how keys of unknown type are held to be deterministic, `deterministic`; what a type hint gets,
`typecoders` and `hints`; the names in graphs, `urns`.
"""

from hornbeam.coders.coders import *  # noqa: F403
from hornbeam.coders.coders import __all__ as __all__
