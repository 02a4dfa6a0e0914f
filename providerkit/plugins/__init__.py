"""The plugins: how they are found, loaded, checked and asked."""
