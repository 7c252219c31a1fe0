"""Glob patterns: what each kind means."""

import pytest

from connectors.errors import SourceMisconfigured
from connectors.globs import PathPatterns


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/*", "a.txt", True),
        ("**/*", "a/b/c.txt", True),
        ("*.pdf", "a/b/c.PDF", True),
        ("*.pdf", "a.pdf.txt", False),
        ("a/*.pdf", "a/x.pdf", True),
        ("a/*.pdf", "a/b/x.pdf", False),
        ("a/**", "a/b/x.pdf", True),
        ("a/**", "a", False),
        ("a/", "a/b/x.pdf", True),
        ("a/", "b/a/x.pdf", False),
        ("a/**/x.pdf", "a/x.pdf", True),
        ("a/**/x.pdf", "a/b/c/x.pdf", True),
        ("**/old/**", "b/old/x.pdf", True),
        ("**/old/**", "b/older/x.pdf", False),
        ("?.txt", "a.txt", True),
        ("?.txt", "ab.txt", False),
        ("a?b/x", "a/b/x", False),
        ("20[12][0-9].txt", "2019.txt", True),
        ("20[!12][0-9].txt", "2019.txt", False),
        ("a[b.txt", "a[b.txt", True),
        ("a[!b]c/x", "a/c/x", False),
        ("./a.txt", "a.txt", True),
        ("./a.txt", "b/a.txt", False),
        ("a+(b).txt", "a+(b).txt", True),
        ("*", "new\nline", True),
    ],
)
def test_patterns_mean_what_is_documented(pattern: str, path: str, matches: object) -> None:
    assert PathPatterns([pattern]).match(path) is matches


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../x", "a/../../x"])
def test_patterns_that_leave_the_root_are_refused(pattern: str) -> None:
    with pytest.raises(SourceMisconfigured, match="not a path below the root"):
        PathPatterns([pattern])


def test_without_patterns_nothing_matches() -> None:
    assert not PathPatterns([]).match("a.txt")
