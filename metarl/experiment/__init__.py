"""One run: its configuration, its loop, its files and its logs."""
