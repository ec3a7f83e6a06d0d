"""Points in the plane: the basic skills of Sparkle (arXiv 2410.16162) and what is composed of them."""
