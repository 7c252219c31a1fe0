"""`banksight models`: the weights on this machine, checked against pinned digests."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from rag.commands.place import print_json
from rag.errors import ConfigurationError
from rag.governance.roles import for_roles
from rag.settings import load_settings

if TYPE_CHECKING:
    from rag.models.checking import Fault
    from rag.models.manifest import Manifest
    from rag.models.places import Place


@for_roles("operator")
@click.group()
def models() -> None:
    """List, pull and verify the weights. Only files with a pinned SHA-256 are loaded; never pickles, never code."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_models(*, as_json: bool) -> None:
    """Each model with pinned files, where it lies, its size, and whether all files are there (by size; see verify)."""
    from rag.models.places import cache_folder, faults_of_size, find_place  # noqa: PLC0415  `--help` must not pay

    settings = load_settings()
    rows = []
    for manifest in _chosen(()):
        place = find_place(manifest, settings)
        faults = [str(fault) for fault in faults_of_size(place, manifest)] if place else []
        rows.append(
            {
                "model": manifest.repository,
                "revision": manifest.revision,
                "license": manifest.license,
                "bytes": manifest.size,
                "state": "absent" if place is None else "incomplete" if faults else "complete",
                "source": place.kind if place else None,
                "folder": str(place.folder if place else cache_folder(manifest, settings)),
                "faults": faults,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        where = f"{row['folder']} ({row['source']})" if row["source"] else f"run `banksight models pull {row['model']}`"
        click.echo(f"{row['model']}  {gigabytes(int(str(row['bytes'])))}  {row['state']}  {where}")


@models.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify(names: tuple[str, ...], *, as_json: bool) -> int:
    """Hash all files again, and name each that differs, is cut, is missing, or does not belong there.

    Every place is looked at that holds files of the model: the cache, the package, the hub's cache. Without MODEL:
    every model that is on this machine.
    """
    from rag.models.checking import check  # noqa: PLC0415  `--help` must not pay
    from rag.models.places import places_with_files  # noqa: PLC0415

    settings = load_settings()
    reports = []
    for manifest in _chosen(names):
        places = places_with_files(manifest, settings)
        if names and not places:
            reports.append(_report(manifest, None, ()))
        reports += [_report(manifest, place, check(place.folder, manifest)) for place in places]
    if not as_json:
        for report in reports:
            click.echo(f"{report['model']}  {report['state']}  {report['folder'] or ''}".rstrip())
            for fault in report["faults"]:
                click.echo(f"  {fault['file']}: {fault['trouble']} ({fault['detail']})")
    if as_json:
        print_json(reports)
    elif not reports:
        click.echo("no model is on this machine")
    return 1 if any(report["state"] != "as pinned" for report in reports) else 0


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@click.option("--from", "place", help="An https:// URL under which the files lie (mirror, object store), or a folder.")
def pull(names: tuple[str, ...], *, place: str | None) -> None:
    """Bring models to CACHE_DIR (or the data folder), and check every byte.

    Without --from the hub is asked, or the mirror in HF_ENDPOINT; HF_TOKEN is for gated models. A pull that was cut
    off goes on where it stopped. Several may run at once. A model that is complete already is only checked.
    """
    from rag.commands.pull_progress import PullProgress  # noqa: PLC0415  `--help` must not pay
    from rag.models.fetching import hub_source, source_at  # noqa: PLC0415
    from rag.models.places import cache_folder  # noqa: PLC0415
    from rag.models.pulling import pull as pull_model  # noqa: PLC0415
    from rag.models.weights import HUB_NAME  # noqa: PLC0415

    settings = load_settings()
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if offline and place is None:
        raise ConfigurationError("HF_HUB_OFFLINE is set: unset it, or give --from a folder or an internal https:// URL")
    for manifest in _chosen(names):
        token = os.environ.get("HF_TOKEN", "")
        source = source_at(place) if place else hub_source(manifest, settings.models.endpoint, token)
        folder = cache_folder(manifest, settings)
        with PullProgress(manifest.repository) as progress:
            fetched = pull_model(manifest, folder, source, progress)
        size = gigabytes(sum((folder / file.name).stat().st_size for file in fetched))
        done = f"{len(fetched)} files, {size}, from {source.shown}" if fetched else "nothing was missing"
        click.echo(f"{manifest.repository}  as pinned  {folder}  ({done})")
        if manifest.repository == HUB_NAME and not settings.embedding.weights_dir:
            click.echo(
                f"search goes on with the installed package; to use these files set BANKSIGHT_EMBEDDING_DIR={folder}"
            )


def _report(manifest: Manifest, place: Place | None, faults: tuple[Fault, ...]) -> dict[str, Any]:
    return {
        "model": manifest.repository,
        "revision": manifest.revision,
        "folder": str(place.folder) if place else None,
        "source": place.kind if place else None,
        "state": "absent" if place is None else "wrong" if faults else "as pinned",
        "files": len(manifest.files),
        "faults": [asdict(fault) for fault in faults],
    }


def gigabytes(size: int) -> str:
    """A size as people compare it with a disk: decimal units."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _chosen(names: tuple[str, ...]) -> tuple[Manifest, ...]:
    from rag.models.manifest import manifest_of, pinned_models  # noqa: PLC0415  `--help` must not pay

    return tuple(manifest_of(name) for name in names) if names else pinned_models()
