"""Opening connectors by kind."""

from pathlib import Path

import pytest

from connectors.errors import SourceMisconfigured
from connectors.registry import open_connector


def test_an_unknown_kind_names_the_kinds_that_there_are() -> None:
    with pytest.raises(SourceMisconfigured, match="There is no source of kind 'ftp'; use one of: filesystem"):
        open_connector("ftp")


def test_options_that_a_connector_does_not_take_are_named() -> None:
    with pytest.raises(SourceMisconfigured, match="missing a required argument"):
        open_connector("filesystem", root=Path())
