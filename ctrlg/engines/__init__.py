"""The same constraints inside other engines: thin adapters around cursors, each imported where its engine is there.

    ctrlg.engines.vllm       vLLM's logits processors, of its first model runner
    ctrlg.engines.vllm_v2    of its second, which runs on GPUs
    ctrlg.engines.llama_cpp  llama-cpp-python
    ctrlg.engines.sglang     SGLang's custom logit processor
    ctrlg.engines.genlm      a potential of genlm-control

What they share: `requests` is what a request asks for, and the room of prepared constraints; `rows` a batch of them;
`following` keeps cursors at the ends of their outputs; `settings` is how servers are told of tokenizer and HMM.
Nothing here is imported by `import ctrlg`, and no adapter needs another's engine.
"""
