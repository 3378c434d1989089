"""How programs run: engine, scheduler, KV cache, grammar engine, sampling, models, tokenizers."""
