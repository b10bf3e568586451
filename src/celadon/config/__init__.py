"""`celadon.toml`: from text to typed values, once. Contacts nothing; errors name file, key, reason and hint.

`load.py` is the door, `model.py` has the keys, `kinds.py` and `values.py` the types, `rules.py` what joins keys.
`secrets.py` finds the values of secrets, `init.py` writes a first config.
"""

from celadon.config.errors import ConfigError
from celadon.config.load import load, parse
from celadon.config.model import Config

__all__ = ["Config", "ConfigError", "load", "parse"]
