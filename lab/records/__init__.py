"""What a run leaves on the disk: history, summary, folders; and reading it again."""
