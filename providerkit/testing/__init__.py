"""What plugin authors test with (extra `testing`)."""
