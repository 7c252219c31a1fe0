"""Tiny language models with random weights and a real tokeniser, made on the spot: what engines are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
)
TEXTS: Final = (
    "A financial institution shall determine whether an error occurred within 10 business days.",
    "The monthly fee of the basic account is $4.50, and the overdraft fee is $12.00.",
    "Branches open at 9:00 and close at 16:30 on business days. They stay closed on holidays.",
    "Überweisungen in € brauchen höchstens einen Geschäftstag; naïve façades cost extra 😀.",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a Mistral-like network. `rows` of embedding and head may be more than the tokeniser has tokens."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 128
    vocabulary: int = 512
    window: int = 512
    rows: int = 0


def make_tiny_mistral(
    folder: Path, seed: int = 0, shape: Shape = Shape(), texts: Sequence[str] = TEXTS, template: str = CHAT_TEMPLATE
) -> Path:
    """Write a model with random float32 weights to `folder`, which is returned: safetensors, tokeniser, chat template.

    The tokeniser is byte-level BPE learnt from `texts`, so that every text can be encoded and tokens may be parts of a
    character. The same seed makes the same weights.
    """
    import torch  # noqa: PLC0415 - heavy, and only those who make a model need it
    from transformers import MistralConfig, MistralForCausalLM  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()
    tokenizer = _tokenizer(texts, shape.vocabulary, template)
    config = MistralConfig(
        vocab_size=max(len(tokenizer), shape.rows),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.window,
        sliding_window=None,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        initializer_range=0.2,  # wide, so that the most probable token is clearly ahead and differs from step to step
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MistralForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(texts: Sequence[str], vocabulary: int, template: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator(texts, trainer)
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    made = PreTrainedTokenizerFast(tokenizer_object=words, clean_up_tokenization_spaces=False, **names)
    made.chat_template = template
    return made
