"""Makes the ONNX graph of the encoder, offline: `python -m rag.models.onnx_export --to FOLDER`.

This file loads torch, so the service never imports it: `onnx_file.ensure_graph` runs it as a child process. The graph
holds mean pooling and L2 normalisation too, and is compared with torch on real lengths before it is accepted.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import click
import numpy as np
import onnxruntime
import torch
from filelock import FileLock
from numpy.typing import NDArray
from transformers import AutoModel

from rag.errors import BankSightError, ModelError
from rag.models.onnx_file import LOCK_NAME, MAX_LENGTH, OUTPUT_NAME, graph_name, publish, read_graph
from rag.models.weights import Weights, find_weights

logger = logging.getLogger(__name__)

MAX_DIFFERENCE = 1e-5  # of any vector component; fp32 kernels of two libraries differ by about 2e-7
MIN_COSINE = 0.999999
# (texts, word pieces): one empty text, odd sizes, a full batch of the longest texts.
_COMPARED_SHAPES = ((1, 2), (1, 15), (3, 17), (32, 64), (8, MAX_LENGTH))


class SentenceEncoder(torch.nn.Module):
    """BERT, then the mean over the real word pieces, then length 1: the three modules of sentence-transformers."""

    def __init__(self, bert: torch.nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors float32[texts, 384] of word piece ids int64[texts, pieces] and their mask (0 is padding)."""
        hidden = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=torch.zeros_like(input_ids)
        ).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, p=2.0, dim=1)


def export(weights: Weights, folder: Path) -> Path:
    """The graph file in `folder`, made unless a good one is there. Safe when several processes do it at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_NAME):
        existing = read_graph(folder, weights.digest)
        if existing.state == "good":
            return existing.path
        encoder = _load_encoder(weights)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
            made = Path(scratch) / graph_name(weights.digest)
            _write_graph(encoder, made)
            _compare(encoder, made)
            return publish(made, folder)


def _load_encoder(weights: Weights) -> SentenceEncoder:
    bert = AutoModel.from_pretrained(
        weights.folder,
        attn_implementation="eager",  # the pattern that both runtimes fuse; sdpa adds NaN guards and runs slower
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        add_pooling_layer=False,
    )
    return SentenceEncoder(bert).eval()


def _write_graph(encoder: SentenceEncoder, path: Path) -> None:
    ids = torch.randint(1000, 20000, (2, 16))
    sizes = {0: torch.export.Dim("texts", min=1, max=4096), 1: torch.export.Dim("pieces", min=2, max=MAX_LENGTH)}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both inputs share their axes, which the exporter finds worth a warning
        torch.onnx.export(
            encoder,
            (ids, torch.ones_like(ids)),
            path,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=["input_ids", "attention_mask"],
            output_names=[OUTPUT_NAME],
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
        )


def _compare(encoder: SentenceEncoder, path: Path) -> None:
    """Raises `ModelError` unless the file loads and gives the vectors that torch gives."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for texts, pieces in _COMPARED_SHAPES:
        ids = random.integers(1000, 30000, (texts, pieces))
        lengths = np.linspace(pieces, 2, texts).astype(np.int64)
        mask = (np.arange(pieces) < lengths[:, None]).astype(np.int64)
        with torch.inference_mode():
            expected = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        found: NDArray[np.float32] = session.run([OUTPUT_NAME], {"input_ids": ids, "attention_mask": mask})[0]
        difference, cosine = float(np.abs(found - expected).max()), float((found * expected).sum(1).min())
        logger.info("graph against torch, %d x %d: difference %.2e, cosine %.7f", texts, pieces, difference, cosine)
        if not (difference <= MAX_DIFFERENCE and cosine >= MIN_COSINE):
            raise ModelError(
                f"the exported graph is not the model (difference {difference:.2e}, cosine {cosine:.6f}): use the "
                "pinned torch, onnx and onnxruntime, or set embedding.query_backend: sentence_transformers"
            )


@click.command()
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Output folder.")
@click.option("--weights", "configured", default="", help="Folder with the model; empty: package, hub cache, hub.")
def main(folder: Path, configured: str) -> None:
    """Write the encoder's ONNX graph into a folder, for builds and first starts."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        click.echo(export(find_weights(configured), folder))
    except (BankSightError, OSError) as error:
        click.echo(f"{error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
