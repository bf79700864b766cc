"""What the commands of the command line share, and those on single records."""
