"""Sealora: federated LoRA fine-tuning with secure aggregation and differential privacy."""

__version__ = "0.1.0"
__all__ = ["__version__"]
