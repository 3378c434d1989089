"""Implementations of the seam in `sestina.lang.session` that need no engine in this process."""
