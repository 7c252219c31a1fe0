"""Checks the files of a model before minutes are spent on loading them.

The format of safetensors: 8 bytes with the length of a JSON header, the header, then the tensors that it describes
(https://huggingface.co/docs/safetensors). A file that ends early is found from its header and its size alone.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Final

from rag.errors import ModelError

INDEX: Final = "model.safetensors.index.json"
_LONGEST_HEADER: Final = 100_000_000  # bytes: the limit of the format
_LENGTH: Final = struct.Struct("<Q")


def check_weight_files(folder: Path) -> None:
    """Raises `ModelError`, with what to do, when the folder lacks a file, or one of them is damaged or incomplete."""
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}: pull the model, or name the folder that holds it")
    config = _json(folder / "config.json")
    if "auto_map" in config:
        raise ModelError(f"the model in {folder} wants to run code of its own, which is never done: use another one")
    for each in _weights(folder):
        _check(each)


def _weights(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        named = set(_json(index).get("weight_map", {}).values())
        return [folder / each for each in sorted(named)]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise ModelError(f"the folder {folder} holds no *.safetensors; other formats can run code and are not read")
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"the file {file} is missing: copy the model again") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"the file {file} cannot be read as JSON: copy the model again") from error
    if not isinstance(content, dict):
        raise ModelError(f"the file {file} is not a JSON object: copy the model again")
    return content


def _check(file: Path) -> None:
    try:
        size = file.stat().st_size
        with file.open("rb") as content:
            start = content.read(_LENGTH.size)
            length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else _LONGEST_HEADER
            if length >= min(size, _LONGEST_HEADER):
                raise ModelError(f"the file {file} is damaged or incomplete: copy the model again")
            header = json.loads(content.read(length))
            ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
    except FileNotFoundError as error:
        raise ModelError(f"the file {file} is missing: copy the model again") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"the file {file} is damaged: copy the model again") from error
    expected = _LENGTH.size + length + max(ends, default=0)
    if size != expected:
        raise ModelError(f"the file {file} has {size} bytes instead of {expected}: copy the model again")
