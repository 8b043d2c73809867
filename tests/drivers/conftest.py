"""Assertions in the conformance suite explain themselves too."""

import pytest

pytest.register_assert_rewrite("conformance")
