"""Our format on disk: deltas of a window under a codec, with their manifest.

May import checkpoints and core. No kernels: what it computes, it computes with torch, one tensor at a time.
"""
