"""What an explanation is: methods, and the relevance rules that they are made of."""

from tfrnnx.propagation import gradients, relevance, composites  # isort: skip  # in their order

__all__ = ["composites", "gradients", "relevance"]
