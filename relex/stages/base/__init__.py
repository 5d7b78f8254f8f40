"""Stage base: theta_0, the model that RLVR starts from. May import checkpoints, rewards and core."""
