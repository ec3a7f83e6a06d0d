"""Memory inside a language model: what its layers keep of the frames it has read, one file per policy."""
