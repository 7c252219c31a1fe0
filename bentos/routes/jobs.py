"""Background work: start it, watch it, cancel it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from bentos import schemas
from bentos.contract import Jobs, OpenWorkspace, errors
from bentos.principals import Caller, requires
from rag.domain import Principal
from rag.errors import NotFound, QuestionError

router = APIRouter(tags=["Jobs"])

JobId = Annotated[str, Path(pattern=schemas.JOB_ID)]


@router.post(
    "/v1/jobs",
    dependencies=[requires("operator")],
    status_code=202,
    response_model=schemas.Job,
    responses=errors(400, 413),
)
async def start_job(
    asked: schemas.JobRequest, jobs: Jobs, workspace: OpenWorkspace, caller: Caller, response: Response
) -> Any:
    """Make the corpus equal to its sources, in the background. `Location` names the job."""
    known = {source.name for source in workspace.settings.sources} | {"uploads"}
    unknown = set(asked.sources or ()) - known
    if unknown:
        raise QuestionError(f"There is no source {min(unknown)!r}; configured are: {', '.join(sorted(known))}.")
    job = await asyncio.to_thread(jobs.submit, asked.sources, subject=caller.subject, tenant=caller.tenant)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get(
    "/v1/jobs", dependencies=[requires("analyst", "operator")], response_model=schemas.JobList, responses=errors()
)
async def list_jobs(jobs: Jobs, caller: Caller, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """The latest jobs, newest first."""
    found = await asyncio.to_thread(jobs.latest, limit)
    return {"jobs": [job for job in found if _may_see(caller, job)]}


@router.get(
    "/v1/jobs/{job_id}",
    dependencies=[requires("analyst", "operator")],
    response_model=schemas.Job,
    responses=errors(404),
)
async def get_job(job_id: JobId, jobs: Jobs, caller: Caller) -> Any:
    """How far a job is, and what it did with each document that did not stay as it was."""
    job = await asyncio.to_thread(jobs.get, job_id)
    if not _may_see(caller, job):
        raise NotFound(f"there is no job {job_id!r}; GET /v1/jobs lists those there are")
    return job


@router.delete(
    "/v1/jobs/{job_id}",
    dependencies=[requires("analyst", "operator")],
    response_model=schemas.Job,
    responses=errors(404),
)
async def cancel_job(job_id: JobId, jobs: Jobs, caller: Caller) -> Any:
    """Cancel a job at its next safe point. What was written stays; a later job goes on from there."""
    await get_job(job_id, jobs, caller)
    return await asyncio.to_thread(jobs.cancel, job_id)


def _may_see(caller: Principal, job: Any) -> bool:
    """Outcomes name documents, so a job is for whoever started it and for operators of the same tenant."""
    mine = bool(job.subject == caller.subject)
    return bool(job.tenant == caller.tenant) and (mine or bool(caller.roles & {"operator", "admin"}))
