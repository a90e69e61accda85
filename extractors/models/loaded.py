"""A language model of transformers at work: what goes in, and the hidden states and logits that come out."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import ExtractionError
from .environment import identity
from .ways import Way, padding_id


@dataclass
class LoadedModel:
    """A model with its tokenizer, placed and in evaluation mode.

    `base` gives the hidden states: the base model of a causal one, or an encoder. `blocks` are its layers where hooks
    on them were found to give the states of `output_hidden_states`; None asks for those themselves.
    """

    name: str
    model: Any
    base: Any
    tokenizer: Any
    causal: bool
    """Whether it predicts the next token."""
    family: str
    revision: str | None
    random_init: int | None
    dtype: Any
    params_total: int
    params_backbone: int
    weights: dict[str, Any] = field(default_factory=dict)
    """Record of the files of weights in a store's result."""
    quantization: str | None = None
    device_map: str | None = None
    compiled: bool = False
    blocks: Any = None
    max_positions: int | None = None
    """How many tokens the table of learned positions holds; None where there is no such table."""
    first_position: int = 0
    way: Way = field(default_factory=lambda: Way("padded"))
    """How texts share a batch."""
    no_cache: bool = True
    """Whether a causal model is set to keep nothing for a next token; the states of some depend on it."""
    scored: bool = True
    """Whether a causal model has losses: some checkpoints, as of embedding models, come without the output layer."""
    head_alone: bool = True
    """Whether the output layer and its scales make the logits of the last state; else the whole model makes them."""

    def spec(self) -> dict[str, Any]:
        """Identity of the weights and how they compute."""
        return identity(
            self.name,
            self.revision,
            self.random_init,
            self.dtype,
            quantization=self.quantization,
            device_map=self.device_map,
            compiled=self.compiled,
        )

    @property
    def embeddings(self) -> Any:
        """The table of token embeddings; ExtractionError where there is none."""
        import torch

        try:
            found = self.base.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            found = None
        if getattr(found, "weight", None) is None:
            found = next((m for m in self.base.modules() if isinstance(m, torch.nn.Embedding)), None)
        if found is None:
            raise self.unreadable("it has no table of token embeddings")
        return found

    @property
    def padding_id(self) -> int:
        return padding_id(self.tokenizer, len(self.embeddings.weight))

    @property
    def device(self) -> Any:
        """Where token ids go: to the embeddings, which come first also in a model spread over devices."""
        embeddings = self.embeddings
        spread = getattr(embeddings, "_hf_hook", None)  # accelerate's; offloaded weights are nowhere themselves
        place = getattr(spread, "execution_device", None)
        return embeddings.weight.device if place is None else place

    def inputs(self, tokens: Any, mask: Any) -> dict[str, Any]:
        """Arguments of a forward pass: without padding the library's own, with it positions where `way` says so."""
        arguments = {"input_ids": tokens}
        if takes(self.base, "attention_mask"):
            arguments["attention_mask"] = mask
        if self.way.positions and not bool(mask.all()):
            first = self.first_position
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + first
            # RoBERTa and its kin count from behind the padding's own position
            arguments["position_ids"] = positions if not first else positions.masked_fill(mask == 0, first - 1)
        return arguments

    def hidden_states(self, tokens: Any, mask: Any, pool: Callable[[Any], Any]) -> tuple[list[Any], Any]:
        """`pool` of every hidden state, and the last one whole; pooled as they come, as all of them are too many."""
        inputs = self.inputs(tokens, mask)
        if self.blocks is None:
            output = self.base(**inputs, **self._options(), output_hidden_states=True)
            return [pool(state) for state in output.hidden_states], output.last_hidden_state
        found: dict[int, Any] = {}

        def before(index):
            def keep(module, args, kwargs):
                found[index] = pool(args[0] if args else kwargs["hidden_states"])

            return keep

        handles = [block.register_forward_pre_hook(before(i), with_kwargs=True) for i, block in enumerate(self.blocks)]
        try:
            last = self.base(**inputs, **self._options()).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        return [*(found[i] for i in range(len(self.blocks))), pool(last)], last

    def _options(self) -> dict[str, bool]:
        return {"use_cache": False} if self.causal and self.no_cache else {}

    def logits(self, last: Any, tokens: Any, mask: Any) -> Any:
        """Logits (texts, tokens - 1, words) of what follows each token, from the last state or by the whole model."""
        import torch

        if not self.head_alone:
            return self.model(**self.inputs(tokens, mask), **self._options()).logits[:, :-1]
        head, config = self.model.get_output_embeddings(), self.model.config.get_text_config()
        logits = head(last[:, :-1].to(head.weight.device))
        cap, scale = (getattr(config, name, None) for name in ("final_logit_softcapping", "logit_scale"))
        scaling = getattr(config, "logits_scaling", None)
        logits = torch.tanh(logits / cap) * cap if cap else logits
        logits = logits * scale if scale else logits
        return logits / scaling if scaling else logits

    def unreadable(self, why: str) -> ExtractionError:
        return unreadable(self.name, self.family, why)


def takes(model: Any, argument: str) -> bool:
    """Whether a model's forward pass has an argument of that name, or any name."""
    parameters = inspect.signature(model.forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def unreadable(name: str, family: str, why: str) -> ExtractionError:
    """The error for a model of a family that is not read."""
    return ExtractionError(
        f"{name} is a {family} model, which cannot be read: {why}. extractors.extract_module reads any torch "
        "module by the names of its layers; or choose a model of another family."
    )
