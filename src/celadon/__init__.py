"""Celadon: zero-downtime blue-green deploys of Python applications to Linode, behind a NodeBalancer."""

__version__ = "0.1.0.dev0"
