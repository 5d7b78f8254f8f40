"""Nights that add up: what the present hop starts from, what comes after it, and what all of them spent and won.

policy.py decides and is pure; ledger.py keeps a line a hop and a line a night; present.py and turn.py read the registry
and write hop.json. Above the registry, below the command line.
"""
