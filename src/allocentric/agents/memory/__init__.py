"""What an agent keeps of a stream, one file per policy; `contract` says what a policy is."""
