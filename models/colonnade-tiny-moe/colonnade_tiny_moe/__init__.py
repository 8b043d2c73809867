"""The DeepSeek-V3-shaped test model: its network, its first weights and its training."""
