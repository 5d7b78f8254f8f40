"""The ledger: what every hop spent and won. lines.py is the file, spending.py what a hop adds to it; true_rlvr.py is
what ordinary long training reaches on the same task.py, to hold it against.

May import core alone. The nights append to it and go by it, the study measures curves, the stage `report` shows both.
"""
