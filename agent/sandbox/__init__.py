"""Where tests run: the protocol and its backends."""
