"""The same constraints inside other engines: thin adapters around cursors, each imported where its engine is there.

    ctrlg.engines.vllm       vLLM's logits processors, V1 and V2
    ctrlg.engines.llama_cpp  llama-cpp-python

Nothing here is imported by `import ctrlg`, and no adapter needs another's engine.
"""
