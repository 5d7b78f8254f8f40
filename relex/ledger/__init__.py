"""The ledger: what every hop spent and won. lines.py is the file, spending.py what a hop adds to it.

May import core alone. The nights append to it and go by it, the stage `report` shows it.
"""
