"""What runs on a host while a command lasts: one request/reply protocol over SSH's stdin and stdout.

Standard library only, Python 3.9 or later, and no import from the rest of Celadon: these files are sent as they are.
Start with `main`.
"""
