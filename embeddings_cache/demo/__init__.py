"""The shipped demo: a small trained model, its cache, and the script that made them."""
