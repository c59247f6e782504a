"""Thousands of stories, each from one number: no promise is broken in any of them."""
