"""The language model asked in this process: what it sees, how it samples, how likely it finds a text.

May import rewards and core.
"""
