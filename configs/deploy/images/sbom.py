"""Prints the bill of materials of the Python that runs it, as CycloneDX 1.6: what an image holds besides its base."""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distributions


def _component(found: Distribution) -> dict[str, object]:
    name, version = found.metadata["Name"], found.version
    licence = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    described = {"licenses": [{"license": {"name": licence}}]} if 0 < len(licence) < 100 else {}
    package_url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
    return {"type": "library", "name": name, "version": version, "purl": package_url, **described}


components = sorted((_component(each) for each in distributions()), key=lambda each: str(each["purl"]))
document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
json.dump(document, sys.stdout, indent=1)
