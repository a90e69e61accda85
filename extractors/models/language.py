"""Language models of transformers: every hidden state, read by forward hooks and pooled inside them."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from prh_jax.stores.layout import Layer

from ..datasets.samples import Dataset
from ..errors import ExtractionError
from . import pooling
from .base import describe_layers
from .sentence import own_pooling
from .text_bytes import token_bytes
from .tokens import reorder, vocabulary_sha256
from .transformers_language import LoadedModel, load_model
from .ways import pad

CAUSAL_ARRAYS = {"nats": "float64", "n_predicted": "int64", "n_bytes": "int64", "n_unscored_bytes": "int64"}
TOKEN_ARRAYS = {"n_tokens": "int64", "n_truncated": "int64"}


@dataclass(frozen=True)
class Text:
    """A text made ready: its tokens, how many were cut off, its UTF-8 bytes and those of the first, unscored token."""

    tokens: list[int]
    n_truncated: int
    n_bytes: int
    n_unscored_bytes: int

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass
class LanguageExtractor:
    """One language model, ready to give pooled hidden states (and losses, if it is causal) of texts.

    The states are those of `output_hidden_states`: the embeddings, the output of every layer but the last, and the
    last hidden state (after the final norm, where there is one).
    """

    loaded: LoadedModel
    pool: str
    caption_index: int | str = 0
    prompt: bool | str = False
    max_length: int | None = None
    special_tokens: bool = True
    layers: list[Layer] = field(default_factory=list)

    modality: ClassVar[str] = "language"
    by_length: ClassVar[bool] = True

    def __post_init__(self):
        if not self.layers:
            # Two tokens that are not padding: some models find their positions by comparing with it.
            tokens = [1 if self.loaded.padding_id != 1 else 2] * 2
            states, _ = self.forward([Text(tokens, 0, 2, 1)])
            labels = ["embeddings", *(f"layers.{i}" for i in range(len(states) - 2)), "last_hidden_state"]
            self.layers = describe_layers(labels, states)

    @property
    def tokenizer(self) -> Any:
        return self.loaded.tokenizer

    @property
    def model(self) -> Any:
        return self.loaded.model

    @property
    def device(self) -> Any:
        return self.loaded.device

    @property
    def sample_arrays(self) -> dict[str, str]:
        if self.pool == pooling.TOKENS:  # rows are tokens, and these numbers are of texts
            return {}
        return {**CAUSAL_ARRAYS, **TOKEN_ARRAYS} if self.loaded.scored else TOKEN_ARRAYS

    def spec(self) -> dict[str, Any]:
        """Identity of these features, apart from the data."""
        return {
            "modality": self.modality,
            **self.loaded.spec(),
            "pool": self.pool,
            "caption_index": self.caption_index,
            "prompt": self.prompt,
            "max_length": self.max_length,
            "special_tokens": self.special_tokens,
            "padding": str(self.loaded.way),
            **self._tokens_kept(),
        }

    def _tokens_kept(self) -> dict[str, Any]:
        """Record of the tokens of a store of them: stores of equal records have the same tokens of one text."""
        if self.pool != pooling.TOKENS:
            return {}
        vocabulary = vocabulary_sha256(self.tokenizer)
        return {"tokens": {"kind": "text", "vocabulary": vocabulary, "special_tokens": self.special_tokens}}

    def count_tokens(self, data: Dataset) -> list[int]:
        """Number of tokens of each text, by the tokenizer alone."""
        return [len(self.prepare(data, row)[0]) for row in range(len(data))]

    def parameters(self) -> dict[str, Any]:
        """Parameter counts: all, and without an output layer or decoder of its own; and hashes of the weights."""
        counts = {"params_total": self.loaded.params_total, "params_backbone": self.loaded.params_backbone}
        return {**counts, **self.loaded.weights}

    def prepare(self, data: Dataset, row: int) -> list[Text]:
        """The tokens of one sample's caption, or of all its captions."""
        return [self.encode(text, data.ids[row]) for text in data.captions_of(row, self.caption_index)]

    def encode(self, text: str, sample: str = "") -> Text:
        """Tokens of a text in its prompt, cut at `max_length`; ExtractionError where there is none or too many."""
        if isinstance(self.prompt, str):
            text = self.prompt.replace("{text}", text)
        tokens = self._tokens(text)
        if not tokens:
            raise ExtractionError(
                f"{self.loaded.name} reads the text of sample {sample!r} as no token at all; leave it out "
                "(--on-error skip leaves out broken samples)."
            )
        whole = len(tokens)
        if self.max_length is not None and whole > self.max_length:
            # by the tokenizer, which keeps the special tokens of both ends
            tokens = self._tokens(text, truncation=True, max_length=self.max_length)
        self._check_table(tokens, sample)
        limit = self.loaded.max_positions
        if limit is not None and len(tokens) > limit:
            raise ExtractionError(
                f"The text of sample {sample!r} has {len(tokens)} tokens, and {self.loaded.name} reads {limit} at "
                f"most. Cut texts with --max-length {limit}; how many were cut is recorded."
            )
        unscored = self._unscored_bytes(text, whole - len(tokens)) if self.loaded.scored else 0
        return Text(tokens, whole - len(tokens), len(text.encode()), unscored)

    def _check_table(self, tokens: list[int], sample: str) -> None:
        """ExtractionError where the tokenizer has tokens that the model has no embedding of."""
        size = len(self.loaded.embeddings.weight)
        if max(tokens) >= size:
            token = self.tokenizer.convert_ids_to_tokens(max(tokens))
            raise ExtractionError(
                f"The tokenizer of {self.loaded.name} reads the text of sample {sample!r} with the token {token!r} "
                f"({max(tokens)}), and the model has embeddings of {size} tokens. The token was added without "
                "resize_token_embeddings: save the model with it, or give the tokenizer that it was trained with."
            )

    def _tokens(self, text: str, **cut: Any) -> list[int]:
        return self.tokenizer(text, add_special_tokens=self.special_tokens, verbose=False, **cut)["input_ids"]

    def _unscored_bytes(self, text: str, n_cut: int) -> int:
        """UTF-8 bytes that no prediction covers: the first token's, unless it is a special one, and those cut off."""
        sizes = token_bytes(self.tokenizer, text, add_special_tokens=self.special_tokens)
        words = [size for size in sizes if size is not None]
        kept = words[n_cut:] if self.tokenizer.truncation_side == "left" else words[: len(words) - n_cut]
        scored = kept if sizes[0] is None else kept[1:]
        return max(len(text.encode()) - sum(scored), 0)

    def forward(self, inputs: Sequence[Text]) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Pooled float32 states, a (batch, d) tensor a layer, and the numbers of each text (none of tokens)."""
        import torch

        parts, numbers = [], []
        groups = self.loaded.way.groups([len(text) for text in inputs])
        for group in groups:
            states, values = self._forward([inputs[place] for place in group])
            parts.append(states)
            numbers.append(values)
        if len(groups) == 1:
            return parts[0], numbers[0]
        back = np.argsort(np.concatenate(groups))
        if self.pool == pooling.TOKENS:
            rows = reorder([len(inputs[place]) for group in groups for place in group], back)
            return [torch.cat(layer)[rows] for layer in zip(*parts, strict=True)], {}
        states = [torch.cat(layer)[back] for layer in zip(*parts, strict=True)]
        return states, {name: np.concatenate([values[name] for values in numbers])[back] for name in numbers[0]}

    def _forward(self, inputs: Sequence[Text]) -> tuple[list[Any], dict[str, np.ndarray]]:
        ids, mask = pad([text.tokens for text in inputs], self.loaded.padding_id, side=self.loaded.way.side)
        states, nats = self.states(ids, mask)
        if self.pool == pooling.TOKENS:
            return states, {}
        numbers = {
            "n_tokens": np.array([len(text) for text in inputs]),
            "n_truncated": np.array([text.n_truncated for text in inputs]),
        }
        if nats is not None:
            numbers |= {
                "nats": nats,
                "n_predicted": mask.sum(axis=1) - 1,
                "n_bytes": np.array([text.n_bytes for text in inputs]),
                "n_unscored_bytes": np.array([text.n_unscored_bytes for text in inputs]),
            }
        return states, numbers

    def states(self, ids: np.ndarray, mask: np.ndarray) -> tuple[list[Any], np.ndarray | None]:
        """Pooled float32 states, a (batch, d) tensor a layer, and each text's nats (None where it has no losses)."""
        import torch

        valid = torch.as_tensor(mask, device=self.device)
        tokens = torch.as_tensor(ids, device=self.device)

        def pool(state):
            return pooling.pool_tokens(state, valid.to(state.device), self.pool)

        with torch.inference_mode():
            states, last = self.loaded.hidden_states(tokens, valid, pool)
            scored = self.loaded.scored and self.pool != pooling.TOKENS
            nats = self._nats(last, tokens, valid) if scored else None
        if nats is not None and np.isnan(nats).any():
            raise ExtractionError(
                f"The losses of {self.loaded.name} are NaN: its output layer holds values that are not finite, or "
                f"{self.loaded.dtype} has not their range (--dtype float32)."
            )
        return states, nats

    def _nats(self, last: Any, ids: Any, mask: Any) -> np.ndarray:
        """Sum of -log p over the predicted tokens of each text, in nats."""
        import torch

        # Logits are the largest tensor of all (256,000 words a token in gemma): a few texts at a time.
        texts = max(1, 2**25 // (ids.shape[1] * len(self.loaded.embeddings.weight)))
        sums = []
        for start in range(0, len(ids), texts):
            part = slice(start, start + texts)
            logits = self.loaded.logits(last[part], ids[part], mask[part])
            target = ids[part, 1:].long().to(logits.device)
            loss = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), target, reduction="none")
            predicted = (mask[part, :-1] * mask[part, 1:]).to(loss.device)
            sums.append((loss * predicted).double().sum(dim=1).cpu())
        return torch.cat(sums).numpy()


def summarize(read: Callable[[str], np.ndarray], names: Collection[str]) -> dict[str, Any]:
    """Loss and bits per byte over all samples, from the per-sample numbers of a store.

    loss           mean over samples of the mean nats per predicted token
    bpb_reference  mean over samples of nats x log2(e) / UTF-8 bytes, as the reference counts
    bpb            the same over the bytes of predicted tokens alone: without a beginning-of-text token, the first
                   token is never scored, and its bytes do not count
    n_tokens, n_truncated  tokens read and tokens cut off, in sum; samples_truncated: of how many samples
    """
    result: dict[str, Any] = {name: int(read(name).sum()) for name in TOKEN_ARRAYS if name in names}
    if "n_truncated" in names:
        result["samples_truncated"] = int((read("n_truncated") > 0).sum())
    if not set(CAUSAL_ARRAYS) <= set(names):
        return result
    nats, predicted, size = read("nats"), read("n_predicted"), read("n_bytes")
    scored, bits = size - read("n_unscored_bytes"), nats * math.log2(math.e)
    some = (predicted > 0) & (scored > 0)
    return {
        **result,
        "loss": float((nats[predicted > 0] / predicted[predicted > 0]).mean()) if (predicted > 0).any() else None,
        "bpb": float((bits[some] / scored[some]).mean()) if some.any() else None,
        "bpb_reference": float((bits / size).mean()),
    }


def load(
    name: str,
    *,
    pool: str = "auto",
    caption_index: int | str = 0,
    prompt: bool | str = False,
    max_length: int | None = None,
    special_tokens: bool = True,
    random_init: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    quantize: str | None = None,
    device_map: str | None = None,
    compiled: bool = False,
    force_download: bool = False,
) -> LanguageExtractor:
    """A language model by hub name or local path, with its tokenizer: causal, an encoder, or an encoder-decoder's.

    `prompt` is a template with {text} in it, or the reference's mark alone; `caption_index` an index or "all".
    `random_init` draws the weights from that seed, with the configuration and tokenizer of the name.
    """
    if isinstance(prompt, str) and "{text}" not in prompt:
        raise ExtractionError(f"The prompt {prompt!r} has no place for the text; write {{text}} where it belongs.")
    if pool == pooling.TOKENS and isinstance(caption_index, str):
        raise ExtractionError(
            "--tokens keeps the tokens of one text of each sample, and --caption-idx all has several: choose one."
        )
    if max_length is not None and max_length < 1:
        raise ExtractionError(f"--max-length must be at least 1, got {max_length}.")
    if random_init is not None and (quantize or device_map):
        raise ExtractionError(
            "--random-init draws weights on one device, in full: leave out --quantize and --device-map."
        )
    loaded = load_model(
        name,
        random_init=random_init,
        dtype=dtype,
        device=device,
        quantize=quantize,
        device_map=device_map,
        compiled=compiled,
        force_download=force_download,
    )
    if pool == "own":
        return LanguageExtractor(loaded, own_pooling(name), caption_index, prompt, max_length, special_tokens)
    has_class_token = not loaded.causal and special_tokens and _starts_with_class_token(loaded.tokenizer)
    canonical = pooling.resolve_text(pool, name, causal=loaded.causal, has_class_token=has_class_token)
    return LanguageExtractor(loaded, canonical, caption_index, prompt, max_length, special_tokens)


def _starts_with_class_token(tokenizer: Any) -> bool:
    """Whether texts begin with a token that stands for them: [CLS], or <s> in its place."""
    first = tokenizer("a")["input_ids"][:1]
    return bool(first) and first[0] in (tokenizer.cls_token_id, tokenizer.bos_token_id)
