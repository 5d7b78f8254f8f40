"""The engine: one model in a process of its own, completions on request.

Started as `python -m relex.stages.evaluate.engine`; only vllm_backend.py imports vLLM.
"""
