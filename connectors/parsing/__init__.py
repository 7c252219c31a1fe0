"""Bytes to pages of text. Files from outside are parsed in a child process, `ParsingSandbox`, never in our own.

Importing this package loads no parser: each is imported in the child when the first file of its kind arrives.
"""

from connectors.parsing.document import PARSER_VERSION, ParsedDocument, ParsingLimits
from connectors.parsing.media import detect_media_type
from connectors.parsing.sandbox import ParsingSandbox

__all__ = ["PARSER_VERSION", "ParsedDocument", "ParsingLimits", "ParsingSandbox", "detect_media_type"]
