"""Base models, LoRA adapters, tasks and data sets."""
