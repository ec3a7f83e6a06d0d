"""Sparse, linear and test-time-training attention for Hugging Face vision-language models, behind one contract.

A method (`methods/`) looks at queries, keys and token geometry and returns a `Plan`: which pairs count. An executor
(`executors/`) computes attention under a plan. A mixer (`mixers/`) replaces a whole attention layer and carries a
`MixerState`. `register` puts methods into transformers, `convert` puts mixers into a checkpoint.

Shapes: B batch, H query heads, K key-value heads, G = H / K, L queries, S keys, D head width, E model width.
"""
