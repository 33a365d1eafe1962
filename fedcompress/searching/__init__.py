"""Settings that are best on validation data: trials, each a run per seed, that Optuna chooses one after the other."""
