"""The panel beside the chat: the quote, and under it the page that it stands on."""

from __future__ import annotations

import chainlit as cl

from ui.client import ApiClient
from ui.documents import DOCUMENT_ID, PDF, content_url, page_url
from ui.errors import SourceNotFound
from ui.rendering import page_markdown, panel_title, quote_card
from ui.wire import Citation, DocumentPage


async def open_panel(client: ApiClient, citation: Citation) -> None:
    """Show a citation's page beside the chat, in place of what was there. Raises a BackendError."""
    if not DOCUMENT_ID.fullmatch(citation.document_id):
        raise SourceNotFound("the document id cannot be part of an address")
    page = await client.page(citation)
    address = page_url(citation.document_id, citation.page, citation.start, citation.end)
    quote = cl.Text(
        name="Quote", content=quote_card(citation, "" if page.media_type == PDF else address), display="side"
    )
    body: cl.Pdf | cl.Text
    if page.media_type == PDF:
        body = cl.Pdf(name="Page", url=content_url(citation.document_id), page=citation.page, display="page")
    else:
        body = cl.Text(name="Page", content=page_markdown(page), display="page")
    # The order matters: elements first, or the title is lost. A new key replaces what the panel holds.
    await cl.ElementSidebar.set_elements([quote, body], key=quote.id)
    await cl.ElementSidebar.set_title(panel_title(citation))


def _pdf(citation: Citation) -> tuple[str, cl.Pdf]:
    address = content_url(citation.document_id)
    return f"{address}#page={citation.page}", cl.Pdf(name="Page", url=address, page=citation.page, display="page")


def _text(citation: Citation, page: DocumentPage) -> tuple[str, cl.Text]:
    address = page_url(citation.document_id, citation.page, citation.start, citation.end)
    return address, cl.Text(name="Page", content=page_markdown(page), display="page")
