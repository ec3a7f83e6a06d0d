"""One file per mixer: `Settings`, `EXAMPLE`, `build(settings, dims)`, as `contract.MixerModule` says."""
