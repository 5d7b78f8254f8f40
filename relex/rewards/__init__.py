"""A verifiable problem, and what a completion of it is worth; the same code in training and evaluation.

May import core.
"""
