"""The inner loops on the processor, compiled by Numba: decoding, Gram products, sums. Imports nothing of relex."""
