"""Hugging Face checkpoint folders of safetensors: read, written, compared, measured, hashed. May import core."""
