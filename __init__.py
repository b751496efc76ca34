"""hyposcreen: screen hypotheses about single-cell transformers, with error control that survives the agent."""

__version__ = "0.1.0"
