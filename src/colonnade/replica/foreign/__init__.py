"""The replica's contract around another engine's server: SGLang, vLLM, TensorRT-LLM, llama.cpp or any like it."""
