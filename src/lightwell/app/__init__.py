"""The house put together: settings, wiring, processes, the command line. Everybody is known here only."""
