"""The command line, and the composition root: the only place that joins config, adapters and the loop.

`main.py` is the entry, `words.py` the table of verbs that help, parsing and completion are made from, `verbs/` has
one file a verb, `compose.py` builds the world from the config, `output.py` owns what is printed.
"""
