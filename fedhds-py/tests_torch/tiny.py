"""Small random models of each family as Hugging Face folders, with tokenizers trained on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import fedhds

FAMILIES = ("embedded", "llama", "gpt2", "bert")


def records() -> list[fedhds.Record]:
    """Records of many lengths, with and without input, and text that no tokenizer likes."""
    train, _ = fedhds.embedded_records(records_per_task=1, test_records_per_task=1)
    odd = [
        fedhds.Record("wide", "Übersetze „日本語“ 🙂.", "", ("naïve café\n\ttab",)),
        fedhds.Record("one", "a", "", ("b",)),
        fedhds.Record("blank", "Trailing blanks   ", " \n ", ("  leading",)),
        fedhds.Record("special", "Say <s> and </s> and [SEP].", "x", ("</s>",)),
    ]
    return train[:12] + odd


def _save(model: Any, tokenizer: Tokenizer, folder: Path, **special: str) -> Path:
    model.eval().save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def _corpus() -> list[str]:
    return [" ".join(pair) for pair in fedhds.render(records(), "alpaca")]


def _byte_level(special: list[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def llama(folder: Path) -> Path:
    """Grouped heads, untied embeddings; its tokenizer begins texts with ``<s>`` and ends them with ``</s>``."""
    tokenizer = _byte_level(["<s>", "</s>", "<pad>"], 400)
    special = [("<s>", 0), ("</s>", 1)]
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> <s> $B </s>", special_tokens=special),
        ]
    )
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=48, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2,
        bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    return _save(model, tokenizer, folder, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def gpt2(folder: Path, dropout: float = 0.1) -> Path:
    """With dropout, as published; its tokenizer has no special token but the end."""
    tokenizer = _byte_level(["<|endoftext|>"], 400)
    torch.manual_seed(2)
    config = transformers.GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_embd=48, n_layer=3, n_head=4, n_positions=512, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0, embd_pdrop=dropout, attn_pdrop=dropout, resid_pdrop=dropout,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    return _save(model, tokenizer, folder, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def bert(folder: Path) -> Path:
    """An encoder; its tokenizer puts ``[CLS]`` and ``[SEP]`` around texts."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_corpus(), trainer)
    special_ids = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special_ids
    )
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=48, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=512, initializer_range=0.2,
    )  # fmt: skip
    named = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")
    return _save(transformers.BertModel(config), tokenizer, folder, **named)


def folder_of(family: str, folder: Path) -> Path:
    """A model of a family, written into ``folder``."""
    if family == "embedded":
        fedhds.write_embedded_model(folder)
        return folder
    return {"llama": llama, "gpt2": gpt2, "bert": bert}[family](folder)


def load(folder: Path, family: str) -> tuple[Any, Any]:
    """Model and tokenizer in transformers, float32."""
    kind = transformers.AutoModel if family == "bert" else transformers.AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.float32), transformers.AutoTokenizer.from_pretrained(folder)
