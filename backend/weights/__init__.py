"""Reading a model's files. Weights come from safetensors and GGUF only; nothing is unpickled."""
