"""A causal language model and its tokeniser from a folder on this machine, loaded once per process.

Only safetensors are read, and code that lies beside a model is never run. Loading the same folder with the same
settings again gives the same object, so that two engines share one copy of the weights.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rag.errors import ModelError
from rag.models.engines.weight_files import check_weight_files

Quantization = Literal["nf4", "none"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]

_BFLOAT16_FROM: Final = (8, 0)  # compute capability: Volta and Turing only emulate it
_lock = threading.Lock()
_loaded: weakref.WeakValueDictionary[tuple[Any, ...], LoadedModel]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LoadedModel:
    """A model that is ready to generate. Engines that hold it keep it in memory."""

    folder: Path
    model: Any
    tokenizer: Any
    end_tokens: frozenset[int]
    context_window: int

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def memory_bytes(self) -> int:
        """What parameters and buffers take."""
        return int(self.model.get_memory_footprint())

    def prompt_text(self, prompt: str) -> str:
        """The user's message in the model's chat template, which brings its own token of the beginning."""
        for each in self.tokenizer.get_added_vocab():  # a document must not end the user's turn: </s> becomes < /s>
            if len(each) > 1:
                prompt = prompt.replace(each, f"{each[0]} {each[1:]}")
        message = [{"role": "user", "content": prompt}]
        text: str = self.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        return text

    def prompt_tokens(self, prompt: str) -> tuple[int, ...]:
        """The tokens of `prompt_text`."""
        return tuple(self.tokenizer(self.prompt_text(prompt), add_special_tokens=False)["input_ids"])

    def decode(self, tokens: list[int]) -> str:
        """The text of these tokens. Incomplete characters come out as U+FFFD."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


_loaded = weakref.WeakValueDictionary()


def load_model(
    folder: Path, quantization: Quantization = "nf4", device: str = "auto", precision: Precision = "auto"
) -> LoadedModel:
    """The model in `folder`. `device` is `auto`, `cpu`, `cuda` or `cuda:1`; `precision` is what is computed in.

    `nf4` is bitsandbytes' 4 bit with double quantisation. Raises `ModelError`, with what to do, when files are missing
    or damaged, the memory does not suffice, or the card is not there.
    """
    import torch  # noqa: PLC0415 - seconds to import

    where = _device(device)
    dtype = _dtype(where, quantization, precision)
    key = (folder.resolve(), quantization, str(where), str(dtype))
    with _lock:
        if (found := _loaded.get(key)) is not None:
            return found
        check_weight_files(folder)
        try:
            loaded = _load(folder, quantization, where, dtype)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ModelError(
                f"the memory of {where} does not suffice for the model in {folder}: "
                "use 4 bit (nf4), stop what else uses the memory, or take a smaller model"
            ) from error
        _loaded[key] = loaded
        return loaded


def _load(folder: Path, quantization: Quantization, device: Any, dtype: Any) -> LoadedModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()  # a bar in a service's log helps nobody
    options: dict[str, Any] = {}
    if quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        found: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map={"": device}, attn_implementation="sdpa", use_safetensors=True,
            output_loading_info=True, **local, **options,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if "out of memory" in str(error).lower():
            raise MemoryError from error
        raise ModelError(f"the model in {folder} cannot be loaded: {_first_line(error)}") from error
    model, report = found
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"the weights in {folder} lack {len(missing)} tensors, {missing[0]} first: copy them again")
    if not tokenizer.chat_template:
        raise ModelError(f"the tokeniser in {folder} has no chat template: use an instruction-tuned model")
    return LoadedModel(folder, model.eval(), tokenizer, _end_tokens(model, tokenizer), _window(model.config))


def _device(wanted: str) -> Any:
    import torch  # noqa: PLC0415

    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"the device {wanted} was asked for, but PyTorch sees no CUDA card: use auto or cpu")
    return torch.device("cuda:0" if wanted == "cuda" else wanted)


def _dtype(device: Any, quantization: Quantization, precision: Precision) -> Any:
    """float16 on cards without native bfloat16; on a processor float32, which its matrix kernels know best."""
    import torch  # noqa: PLC0415

    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= _BFLOAT16_FROM
        return torch.bfloat16 if native else torch.float16
    fast = quantization == "nf4" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return frozenset(each for each in (*ends, tokenizer.eos_token_id) if each is not None)


def _window(config: Any) -> int:
    """Positions that every token may look back to. A sliding window ends it: engines do not slide."""
    sliding = getattr(config, "sliding_window", None)
    longest = int(config.max_position_embeddings)
    return min(longest, int(sliding)) if sliding else longest


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
