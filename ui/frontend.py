"""Prepares what Chainlit serves: a front end that works without the internet, and a folder of its own to run in.

Chainlit's packaged front end loads two style sheets from the internet before it paints anything, and Chainlit writes
into the folder that it runs in. So each run gets a folder under the data folder, and the checkout is never written to:

    <data>/ui/frontend/    the packaged front end without foreign addresses, shared by all runs
    <data>/ui/app-8000/    settings, translations, logo and style of the run on port 8000
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OWN = Path(__file__).resolve().parent
STAMP = "prepared-for.txt"
RECIPE = "1"  # raise when the front end is prepared differently for the same Chainlit
SERVED_AS_IS = ("public", ".chainlit")
ALL_LANGUAGES = "all"

_FOREIGN = re.compile(r"""["'(=]\s*(?:https?:)?//[^\s"')>]+""", re.IGNORECASE)
_FOREIGN_TAG = re.compile(r"""<(link|script|img)\b[^>]*?["'](?:https?:)?//[^>]*>(\s*</script>)?\s*""", re.IGNORECASE)


class FrontendError(RuntimeError):
    """The front end cannot be prepared; the text is one sentence that says what to do."""


def prepare(folder: Path, port: int, login: str = "none") -> Path:
    """Make the folder that Chainlit runs in, and the shared front end beside it. Doing it again changes nothing.
    `login` is how people sign in, which the page to sign in has words for.

    Returns the folder to run in. Raises FrontendError when a foreign address is left, OSError when `folder` cannot be
    written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prepare_build(_chainlit() / "frontend" / "dist", folder / "frontend")
    return prepare_app_root(folder / f"app-{port}", login)


def writable_folder(wanted: Path) -> Path:
    """`wanted` where it can be written, else a new temporary folder."""
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        return Path(tempfile.mkdtemp(prefix="banksight-ui-"))


def prepare_build(packaged: Path, target: Path) -> None:
    """Copy the packaged front end without source maps and without any address of the internet in its page."""
    stamp = f"chainlit {version('chainlit')}, recipe {RECIPE}\n"
    if _content(target / STAMP) == stamp:
        return
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix="frontend-"))
    try:
        _copy_contents(packaged, fresh)
        page = fresh / "index.html"
        page.write_text(without_foreign_addresses(page.read_text(encoding="utf-8")), encoding="utf-8")
        (fresh / STAMP).write_text(stamp, encoding="utf-8")
        fresh.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def without_foreign_addresses(page: str) -> str:
    """The page without tags that load from another host. Raises FrontendError when any such address is left."""
    cleaned = _FOREIGN_TAG.sub("", page)
    if left := _FOREIGN.search(cleaned):
        raise FrontendError(
            f"Chainlit's page still refers to {left[0][:80]!r}: install the Chainlit version that pyproject.toml names."
        )
    return cleaned


def prepare_app_root(target: Path, login: str) -> Path:
    """Copy our settings, style and welcome text, and write a translation for every language that Chainlit knows."""
    for name in SERVED_AS_IS:
        _copy_contents(OWN / name, target / name)
    translations = target / ".chainlit" / "translations"
    translations.mkdir(exist_ok=True)
    ours, of_login = (_words(OWN / "translations" / folder) for folder in ("", f"login-with-{login}"))
    about = (OWN / "chainlit.md").read_text(encoding="utf-8")
    for packaged in sorted((_chainlit() / "translations").glob("*.json")):
        words = merged(_json(packaged), ours[ALL_LANGUAGES])
        for own in (ours, of_login):
            words = merged(words, own.get(packaged.stem, {}))
        (translations / packaged.name).write_text(json.dumps(words, ensure_ascii=False, indent=1), encoding="utf-8")
        for language in (packaged.stem, packaged.stem.split("-")[0]):
            (target / f"chainlit_{language}.md").write_text(about, encoding="utf-8")
    (target / "chainlit.md").write_text(about, encoding="utf-8")
    return target


def _copy_contents(source: Path, target: Path) -> None:
    # Without the modes: the checkout may be read-only, and its copy must not be.
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_file() and path.suffix != ".map":
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, level by level."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _chainlit() -> Path:
    # Importing Chainlit takes seconds and writes into the working directory; finding it does neither.
    spec = find_spec("chainlit")
    if spec is None or not spec.submodule_search_locations:
        raise FrontendError("Chainlit is not installed: install BankSight with its `ui` extra.")
    return Path(spec.submodule_search_locations[0])


def _words(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: _json(path) for path in folder.glob("*.json")}


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise FrontendError(f"{path.name} must hold a JSON object.")
    return content
