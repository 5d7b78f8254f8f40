"""The method, pure NumPy: Gram matrix -> spectrum -> fits -> weights of a sum, and the backtest of it.

No file, no torch, no pydantic. May import core for words and seeds only.
"""
