"""Documents: the listing, uploads, pages as they were indexed, the files as they came, deletion."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse

from bentos import pages, schemas
from bentos.contract import Jobs, OpenWorkspace, TheSettings, errors
from bentos.principals import Caller, requires
from bentos.problems import Problem
from rag.domain import Document, DocumentState
from rag.errors import UploadRejected
from rag.operations import telemetry

router = APIRouter(tags=["Documents"])

DocumentId = Annotated[str, Path(pattern=schemas.DOCUMENT_ID)]
Offset = Annotated[
    int | None, Query(ge=0, le=2**31 - 1, description="Character offset of the quote in the page's text.")
]
_HTML: dict[str, Any] = {
    "description": "The page, as JSON or, with `Accept: text/html`, as a readable page with the quote marked.",
    "content": {"text/html": {"schema": {"type": "string"}}},
}
_ORIGINAL: dict[str, Any] = {
    "description": "The file as it came.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


@router.get(
    "/v1/documents",
    dependencies=[requires("user", "operator")],
    response_model=schemas.DocumentList,
    responses=errors(),
)
async def list_documents(
    workspace: OpenWorkspace,
    caller: Caller,
    collection: Annotated[str | None, Query(pattern=schemas.COLLECTION)] = None,
    state: DocumentState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> dict[str, Any]:
    """The documents that you may know of, by title. Follow `next_cursor` for more."""
    found = await asyncio.to_thread(workspace.documents, caller)
    wanted = [
        each
        for each in found
        if (collection is None or each.collection == collection) and (state is None or each.state == state)
    ]
    start = _after(cursor, wanted) if cursor is not None else 0
    some = wanted[start : start + limit]
    more = start + limit < len(wanted)
    return {"documents": some, "next_cursor": _cursor(some[-1]) if more else None}


@router.post(
    "/v1/documents",
    dependencies=[requires("analyst", "operator")],
    status_code=202,
    response_model=schemas.Job,
    responses=errors(400, 413, 415),
)
async def upload_document(
    response: Response,
    workspace: OpenWorkspace,
    jobs: Jobs,
    settings: TheSettings,
    caller: Caller,
    form: Annotated[schemas.UploadForm, Form(media_type="multipart/form-data")],
) -> Any:
    """Upload a document. The job that `Location` names tells when it can be searched.

    The same name in the same collection again is a new version of that document.
    """
    content = await _content(form.file, settings.server.max_upload_bytes)
    stored = await asyncio.to_thread(
        workspace.add_upload,
        form.file.filename or "",
        content,
        principal=caller,
        title=form.title,
        collection=form.collection,
        access=form.access,
        effective_from=form.effective_from,
        effective_to=form.effective_to,
    )
    job = await asyncio.to_thread(
        jobs.submit, ["uploads"], subject=caller.subject, tenant=caller.tenant, document_id=stored.id
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get(
    "/v1/documents/{document_id}",
    dependencies=[requires("user", "operator")],
    response_model=schemas.Document,
    responses=errors(404),
)
async def get_document(document_id: DocumentId, workspace: OpenWorkspace, caller: Caller) -> Any:
    """One document: its state, its dates, and what is wrong with it when it could not be read."""
    return await asyncio.to_thread(workspace.document, document_id, caller)


@router.put(
    "/v1/documents/{document_id}/labels",
    dependencies=[requires("operator")],
    response_model=schemas.Document,
    responses=errors(400, 404, 413),
)
async def label_document(
    document_id: DocumentId, asked: schemas.LabelRequest, workspace: OpenWorkspace, caller: Caller
) -> Any:
    """Say which labels a document has besides those of its source.

    It counts on every node within a second, also while documents are ingested, and stays when the document is read
    again. Labels of the source are taken off at the source.
    """
    return await asyncio.to_thread(workspace.label_document, document_id, asked.access, caller)


@router.delete(
    "/v1/documents/{document_id}",
    dependencies=[requires("operator")],
    response_model=schemas.DocumentOutcome,
    responses=errors(404),
)
async def delete_document(document_id: DocumentId, workspace: OpenWorkspace, caller: Caller) -> Any:
    """Delete a document everywhere. It is not ingested again, even where its source still has it."""
    gone: Document = await asyncio.to_thread(workspace.delete_document, document_id, caller)
    telemetry.SNAPSHOT.set(workspace.catalog.snapshot)
    return schemas.DocumentOutcome(
        document_id=gone.id,
        uri=gone.uri,
        outcome="deleted",
        reason="",
        message="",
        pages=gone.pages,
        chunks=gone.chunks,
    )


@router.get(
    "/v1/documents/{document_id}/pages/{number}",
    dependencies=[requires("user")],
    response_model=schemas.PageResponse,
    responses={200: _HTML, **errors(404, 406)},
)
async def get_page(
    document_id: DocumentId,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    request: Request,
    workspace: OpenWorkspace,
    caller: Caller,
    start: Offset = None,
    end: Offset = None,
) -> Any:
    """A page as it was indexed; citations link here."""
    document = await asyncio.to_thread(workspace.document, document_id, caller)
    page = await asyncio.to_thread(workspace.page, document_id, number, caller)
    highlight = _highlight(start, end, len(page.text))
    kind = pages.negotiated(request.headers.get("accept", "*/*"))
    if kind == "html":
        return pages.as_html(document, page, highlight)
    return schemas.PageResponse(
        document_id=document.id,
        title=document.title,
        media_type=document.media_type,
        page=page.number,
        page_label=page.label,
        pages=document.pages,
        text=page.text,
        highlight=highlight,
    )


@router.get(
    "/v1/documents/{document_id}/content",
    dependencies=[requires("user")],
    response_class=FileResponse,
    responses={200: _ORIGINAL, **errors(404)},
)
async def get_content(document_id: DocumentId, workspace: OpenWorkspace, caller: Caller) -> FileResponse:
    """The file as it came: shown in place when it cannot run anything, offered for download otherwise."""
    document = await asyncio.to_thread(workspace.document, document_id, caller)
    path, media_type = await asyncio.to_thread(workspace.original, document_id, caller)
    return pages.as_file(path, media_type, document.uri)


async def _content(file: UploadFile, most: int) -> bytes:
    """The uploaded bytes, of which never more than one too many are held."""
    content = await file.read(most + 1)
    if len(content) > most:
        raise UploadRejected(f"The file is larger than the {most:,} bytes allowed; split it.", status=413)
    return content


def _highlight(start: int | None, end: int | None, length: int) -> schemas.Highlight | None:
    if start is None and end is None:
        return None
    if start is None or end is None or not start <= end <= length:
        raise Problem(
            422,
            "invalid_offsets",
            f"start and end come together, in order, and within the page's {length:,} characters; "
            "if they come from a citation, the document has changed since: ask again.",
        )
    return schemas.Highlight(start=start, end=end)


def _cursor(document: Document) -> str:
    """Where a listing goes on: after this title and id, also when that document is deleted meanwhile."""
    return base64.urlsafe_b64encode(f"{document.id}{document.title}".encode()).decode().rstrip("=")


def _after(cursor: str, documents: list[Document]) -> int:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        place = (text[16:], text[slice(16)])
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise Problem(422, "invalid_cursor", "cursor is not one that this route gave; start without it.") from error
    return next((i for i, each in enumerate(documents) if (each.title, each.id) > place), len(documents))
