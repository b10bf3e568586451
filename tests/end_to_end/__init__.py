"""A package, so that what its tests share on a worker (`conftest.py`) ends with the last of them."""
