"""The files of a run: history, summary, folders; and reading them again."""
