"""From which reward on a completion counts as right, wherever one is counted and not averaged."""

RIGHT = 0.5  # a completion whose reward is above it was verified to be right
