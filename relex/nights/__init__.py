"""Nights that add up: what the present hop starts from, and what comes after it.

policy.py decides and is pure; account.py makes a hop's and a night's line of the ledger; present.py and turn.py read
the registry and write hop.json. Above the registry, below the command line.
"""
