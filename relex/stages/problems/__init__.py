"""Stage problems: verifiable problems in splits that are disjoint by content. May import rewards and core.

rows.py, rows of a table as problems, is also what the suites of stages/evaluate read with.
"""
