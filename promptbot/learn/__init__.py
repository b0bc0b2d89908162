"""Baselines: a bot's task solved by training, on the same examples that its prompts may show."""
