"""Training-free focus: where a vision-language model's attention says to look closer, one file per method."""
