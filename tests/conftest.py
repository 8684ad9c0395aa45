"""Settings shared by all tests."""

from hypothesis import settings

# The first example of a test may compile the transition, so its time says nothing. On a CI,
# hypothesis's own profile comes first: the same examples in every run.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")
