"""docs/features.md says of each family and feature what happens when it is tried; no cell is left untried."""

from __future__ import annotations

import feature_matrix
import pytest
from feature_matrix import FAMILIES, FEATURES

from colonnade.engine.models.registry import ARCHITECTURES


def test_the_page_has_every_family_and_every_feature() -> None:
    assert sorted(FAMILIES) == sorted(ARCHITECTURES)
    assert set(feature_matrix.cells()) == {(family, feature) for family in FAMILIES for feature in FEATURES}


@pytest.mark.parametrize("feature", list(FEATURES))
@pytest.mark.parametrize("architecture", list(FAMILIES))
def test_a_cell_is_what_was_tried(architecture: str, feature: str) -> None:
    """Mend the page with `python tests/engine/feature_matrix.py > docs/features.md`."""
    assert feature_matrix.cells()[architecture, feature] == feature_matrix.outcome(architecture, feature)
