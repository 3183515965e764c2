"""The subcommands, a file a subject."""
