"""Our engine beside others: the same weights and prompts, in one run, one after another and again.

roster, workloads, order (pure) -> run (I/O) -> figures -> report -> table (pure)
        environment: an environment of its own for each peer; weights: what each can read; process: its process
        scripts/: what runs there, outside this package
"""
