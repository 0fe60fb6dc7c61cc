"""What all commands share: how they begin and end, their environment, and the options that name a record."""
