"""The `longtake` command: one file per sub-command, none of which loads torch before its arguments are understood."""
