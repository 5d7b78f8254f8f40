"""Stage report: one self-contained page, made of metrics/ and timings/ alone. May import core."""
