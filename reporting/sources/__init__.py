"""The doors to what we report on, read-only: each gives tidy frames with their coverage."""
