"""The example of a test suite of one's own runs as it stands."""

from examples.test_my_pattern import test_every_query_sees_itself, test_it_is_what_it_says

__all__ = ["test_every_query_sees_itself", "test_it_is_what_it_says"]
