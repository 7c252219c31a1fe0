"""`python -m bentos.dashboards`: Grafana's dashboards, made from the list in `configs/deploy/grafana/panels.yaml`.

A panel is a title, a unit and its queries; places, ids and Grafana's other keys follow from these. Metrics have to
exist, which a test holds, and the JSON files have to be what this program writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_GRAFANA: Final = Path(__file__).parent.parent / "configs" / "deploy" / "grafana"
PANELS: Final = _GRAFANA / "panels.yaml"
FOLDER: Final = _GRAFANA / "dashboards"
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3  # Grafana's grid has 24 columns


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `queries` by legend; `red` is a value from which the line is coloured as trouble.

    `kind` is Grafana's: `timeseries` over time, `stat` for one number now.
    """

    title: str
    unit: str  # Grafana's name of it: s, percentunit, reqps, bytes, celsius, short
    queries: dict[str, str]
    red: float | None = None
    kind: str = "timeseries"


def load(path: Path = PANELS) -> dict[str, tuple[str, list[Panel]]]:
    """Title and panels of each dashboard, by its name."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: (each["title"], [Panel(**panel) for panel in each["panels"]]) for name, each in content.items()}


def queries() -> list[str]:
    """Every query of every panel, with Grafana's own variables filled in, as Prometheus parses it."""
    panels = (panel for _, panels in load().values() for panel in panels)
    return [query.replace("$__rate_interval", "5m") for panel in panels for query in panel.queries.values()]


def render(name: str, title: str, panels: Sequence[Panel]) -> str:
    """The JSON of one dashboard, as Grafana imports it."""
    document = {
        "uid": f"banksight-{name}",
        "title": title,
        "tags": ["banksight"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }
    return json.dumps(document, indent=1) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.red is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.red}]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}, "color": {"mode": "thresholds"}}
    if panel.red is not None and panel.kind == "timeseries":
        defaults |= {"custom": {"thresholdsStyle": {"mode": "line"}}, "color": {"mode": "palette-classic"}}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main(folder: Path = FOLDER) -> int:
    """Write all dashboards into `folder`, and remove what is there of an earlier list."""
    folder.mkdir(parents=True, exist_ok=True)
    dashboards = load()
    for old in folder.glob("*.json"):
        if old.stem not in dashboards:
            old.unlink()
    for name, (title, panels) in dashboards.items():
        (folder / f"{name}.json").write_text(render(name, title, panels), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
