"""Start and stop replicas: five idempotent verbs and a watch, no policy."""
