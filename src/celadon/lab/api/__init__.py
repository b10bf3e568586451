"""The account over HTTP, as `/v4` and `/v4beta`: one file a family of resources.

Start with `endpoint` (what a route is) and `gate` (what every request passes); `app` puts them together.
"""
