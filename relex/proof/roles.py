"""What a suite is for. choose and gate are the two fixed parts of validation; ood guards against loss; test is only
reported, and nothing is decided on it."""

CHOOSE, GATE, TEST, OOD = "choose", "gate", "test", "ood"
