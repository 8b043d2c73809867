"""What colonnade-tiny is made of: a corpus from templates, a tokenizer, a training loop and a score."""
