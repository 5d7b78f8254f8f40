"""A verifiable problem, and what a completion of it is worth; the same code in training and evaluation.

What a model wrote is text here, never code: expressions.py reads it, confined.py fences in whoever scores it. May
import core.
"""
