"""One file per method: `Settings`, `EXAMPLE`, `EXHAUSTIVE`, `build`, as `contract.SelectorModule` says."""
