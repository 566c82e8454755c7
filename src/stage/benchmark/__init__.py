"""How fast, how small and how exact: measured against ``transformers`` and against what the memory can deliver."""
