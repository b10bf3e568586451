"""What the real API answers and demands, as data: regions, types, images, prices, and each operation's fields.

`catalogue.json` comes from recorded answers, `requests.json` from Linode's OpenAPI specification (Apache-2.0, see
NOTICE beside it). Both are written by `scripts/lab_facts.py`; nothing here is edited by hand.
"""
