# SPDX-License-Identifier: MIT
"""tor in doc/conformance.md: four of them, which need the better part of a minute to know each other."""

import pytest

from test_conformance import check_as_committed


@pytest.mark.timeout(240)
def test_as_committed(tmp_path):
    check_as_committed("tor", tmp_path)
