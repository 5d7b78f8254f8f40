"""How MLflow holds a night: connection, versions, runs, aliases. Knows no action of the room above it."""
