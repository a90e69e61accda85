"""Causal language models of transformers: every hidden state, read by forward hooks and pooled inside them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from prh_jax.feature_store import Layer
from prh_jax.feature_writer import FeatureWriter

from . import pooling
from .dataset import Dataset
from .environment import file_sha256, pick_device, pick_dtype
from .errors import ExtractionError


@dataclass
class LanguageExtractor:
    """One causal language model, ready to give pooled hidden states and losses of texts.

    The states are those of `output_hidden_states`: the embeddings, the output of every decoder layer but the last, and
    the base model's last hidden state (after its final norm).
    """

    name: str
    model: Any
    tokenizer: Any
    pool: str
    caption_index: int
    prompt: bool
    revision: str | None
    random_init: int | None
    device: Any
    dtype: Any
    layers: list[Layer] = field(default_factory=list)

    modality: ClassVar[str] = "language"
    sample_arrays: ClassVar[dict[str, str]] = {"nats": "float64", "n_predicted": "int64", "n_tokens": "int64"}

    def spec(self) -> dict[str, Any]:
        """What identifies these features, apart from the data."""
        return {
            "modality": self.modality,
            "model": self.name,
            "revision": self.revision,
            "random_init": self.random_init,
            "pool": self.pool,
            "caption_index": self.caption_index,
            "prompt": self.prompt,
            "dtype_compute": str(self.dtype).removeprefix("torch."),
            "quantization": None,
            "max_length": None,
            "padding": "left, per batch, length-sorted within blocks",
        }

    def block(self, data: Dataset, rows: range, batch_size: int, tick: Any) -> tuple[list[Any], dict[str, Any]]:
        """Features of some samples, a (rows, d) float32 array per layer, with nats and token counts per sample.

        Texts of like length share a batch; the batches depend on the block alone, so that a resumed run repeats them.
        """
        captions = data.captions(self.caption_index)[rows.start : rows.stop]
        encoded = [self.tokenizer(text)["input_ids"] for text in captions]
        empty = [data.ids[rows.start + i] for i, tokens in enumerate(encoded) if not tokens]
        if empty:
            raise ExtractionError(
                f"{self.name} reads the texts of samples {empty[:5]} as no token at all; leave them out."
            )
        order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]), i))
        features = [np.empty((len(encoded), layer.dim), np.float32) for layer in self.layers]
        counts = {"nats": np.zeros(len(encoded)), "n_predicted": np.zeros(len(encoded), np.int64)}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            ids, mask = pad([encoded[i] for i in chosen], padding_id(self.tokenizer))
            states, nats = self.states(ids, mask)
            for array, values in zip(features, states, strict=True):
                array[chosen] = values.cpu().numpy()
            counts["nats"][chosen] = nats
            counts["n_predicted"][chosen] = mask.sum(axis=1) - 1
            tick(len(chosen))
        counts["n_tokens"] = np.array([len(tokens) for tokens in encoded], np.int64)
        return features, counts

    def states(self, ids: np.ndarray, mask: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """Pooled float32 states, a (batch, d) tensor a layer, and the nats of each text, for token ids and mask."""
        import torch

        inputs = {
            "input_ids": torch.as_tensor(ids, device=self.device),
            "attention_mask": torch.as_tensor(mask, device=self.device),
        }
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        if not takes_position_ids(self.model):
            del inputs["position_ids"]
        base = self.model.base_model
        blocks = decoder_layers(base, self.name)
        found: dict[int, Any] = {}

        def before(index):
            def keep(module, args, kwargs):
                found[index] = self._pool(args[0] if args else kwargs["hidden_states"], inputs["attention_mask"])

            return keep

        handles = [block.register_forward_pre_hook(before(i), with_kwargs=True) for i, block in enumerate(blocks)]
        try:
            with torch.inference_mode():
                output = base(**inputs, use_cache=False)
                last = output.last_hidden_state
                found[len(blocks)] = self._pool(last, inputs["attention_mask"])
                nats = self._nats(last, inputs["input_ids"], inputs["attention_mask"])
        finally:
            for handle in handles:
                handle.remove()
        return [found[i] for i in range(len(blocks) + 1)], nats

    def _pool(self, states: Any, mask: Any) -> Any:
        return pooling.pool_tokens(states, mask, self.pool)

    def _nats(self, last: Any, ids: Any, mask: Any) -> np.ndarray:
        """Sum of -log p over the predicted tokens of each text, in nats."""
        import torch

        logits = self.model.get_output_embeddings()(last)
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        scale = getattr(self.model.config, "logit_scale", None)
        logits = logits * scale if scale else logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), ids[:, 1:].long(), reduction="none"
        )
        predicted = mask[:, :-1] * mask[:, 1:]
        return (loss * predicted).double().sum(dim=1).cpu().numpy()

    def result(self, writer: FeatureWriter, data: Dataset) -> dict[str, Any]:
        """Parameters, and loss and bits per byte over all texts from the per-sample numbers in the store.

        params_total, params_backbone  all, and without an output layer of its own
        loss           mean over texts of the mean nats per predicted token
        bpb_reference  mean over texts of nats x log2(e) / UTF-8 bytes, as the reference counts
        bpb            the same over the bytes of predicted tokens alone: without a beginning-of-text token, the first
                       token is never scored, and its bytes do not count
        """
        nats, predicted = writer.sample_array("nats"), writer.sample_array("n_predicted")
        captions = data.captions(self.caption_index)
        size = np.array([len(text.encode()) for text in captions])
        scored = size - np.array([self._unscored_bytes(text) for text in captions])
        bits = nats * math.log2(math.e)
        some = (predicted > 0) & (scored > 0)
        return {
            "params_total": sum(p.numel() for p in self.model.parameters()),
            "params_backbone": sum(p.numel() for p in self.model.base_model.parameters()),
            "loss": float((nats[predicted > 0] / predicted[predicted > 0]).mean()) if (predicted > 0).any() else None,
            "bpb": float((bits[some] / scored[some]).mean()) if some.any() else None,
            "bpb_reference": float((bits / size).mean()),
            "n_tokens": int(writer.sample_array("n_tokens").sum()),
        }

    def _unscored_bytes(self, text: str) -> int:
        """UTF-8 bytes of the first token, where it is text and not a beginning-of-text mark."""
        ids = self.tokenizer(text)["input_ids"]
        if ids[0] in self.tokenizer.all_special_ids:
            return 0
        rest = self.tokenizer.decode(ids[1:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return max(len(text.encode()) - len(rest.encode()), 0)


def padding_id(tokenizer: Any) -> int:
    """The id to pad with: the tokenizer's own, else its end of text, else 0; padded positions are masked anyway."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def pad(sequences: list[list[int]], token: int, *, side: str = "left") -> tuple[np.ndarray, np.ndarray]:
    """Token ids (batch, longest) padded on one side, and the mask of valid ones."""
    width = max(map(len, sequences))
    ids = np.full((len(sequences), width), token, np.int64)
    mask = np.zeros((len(sequences), width), np.int64)
    for row, tokens in enumerate(sequences):
        where = slice(width - len(tokens), width) if side == "left" else slice(0, len(tokens))
        ids[row, where], mask[row, where] = tokens, 1
    return ids, mask


def takes_position_ids(model: Any) -> bool:
    """Whether the base model lets positions be given: without them left padding shifts absolute ones."""
    import inspect

    return "position_ids" in inspect.signature(model.base_model.forward).parameters


def decoder_layers(base: Any, name: str) -> Any:
    """The list of decoder layers of a base model; ExtractionError where it has none that is known."""
    for owner in (base, getattr(base, "decoder", None), getattr(base, "transformer", None)):
        for label in ("layers", "h", "blocks"):
            found = getattr(owner, label, None)
            if found is not None and len(found):
                return found
    raise ExtractionError(f"{name} ({type(base).__name__}) has no list of decoder layers that states can be read from.")


_STATE_SPACE = ("mamba", "mamba2", "falcon_mamba", "rwkv", "jamba", "zamba", "zamba2")


def load(
    name: str,
    *,
    pool: str = "auto",
    caption_index: int = 0,
    prompt: bool = False,
    random_init: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    force_download: bool = False,
) -> LanguageExtractor:
    """A causal language model by hub name or local path, with its tokenizer.

    `random_init` draws the weights from that seed, with the configuration and tokenizer of the name.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place, kind = pick_device(device), pick_dtype(dtype, device)
    canonical = pooling.resolve(pool, "language", model=name)
    try:
        config = AutoConfig.from_pretrained(name, force_download=force_download)
        if config.model_type in _STATE_SPACE:
            raise ExtractionError(
                f"{name} is a {config.model_type} model: its hidden states are inputs of its blocks, not what a "
                "layer's features mean elsewhere, and are not extracted."
            )
        tokenizer = AutoTokenizer.from_pretrained(name, force_download=force_download)
        if random_init is None:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=kind, force_download=force_download)
        else:
            torch.manual_seed(random_init)
            model = AutoModelForCausalLM.from_config(config, dtype=kind)
    except ExtractionError:
        raise
    except Exception as error:  # transformers and the hub client raise many kinds
        text = str(error).strip()
        first = text.splitlines()[0] if text else type(error).__name__
        raise ExtractionError(
            f"Language model {name!r} could not be loaded: {first} Check the name, the network or the cache; a local "
            "folder needs config.json, weights and a tokenizer."
        ) from error
    model = model.to(place).eval()
    folder = Path(name)
    revision = file_sha256(folder) if folder.is_dir() else getattr(config, "_commit_hash", None)
    extractor = LanguageExtractor(
        name=name,
        model=model,
        tokenizer=tokenizer,
        pool=canonical,
        caption_index=caption_index,
        prompt=prompt,
        revision=revision,
        random_init=random_init,
        device=place,
        dtype=kind,
    )
    probe, _ = extractor.states(np.zeros((1, 2), np.int64), np.ones((1, 2), np.int64))
    labels = ["embeddings", *(f"layers.{i}" for i in range(len(probe) - 2)), "last_hidden_state"]
    extractor.layers = [Layer(label, state.shape[1]) for label, state in zip(labels, probe, strict=True)]
    return extractor
