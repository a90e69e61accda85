"""Hidden states of a transformers model of sounds or clips: those of the library, pooled as they come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ExtractionError
from .pooling import forward_hooks


@dataclass
class HiddenStates:
    """The states of a model's own `output_hidden_states`: the input of its first layer, and the output of each.

    Hooks on the layers read them, and pool them at once, where that gives the library's states to the bit.
    """

    name: str
    part: Any
    blocks: Any = None
    normed: bool = True
    """Whether the last state is `last_hidden_state`, not the output of the last layer."""
    names: list[str] = field(default_factory=list)

    def settle(self, inputs: Mapping[str, Any]) -> None:
        """Find the layers by trying; ExtractionError where the library gives no hidden states."""
        import torch

        with torch.inference_mode():
            expected = self._library(inputs, torch.clone)
            for blocks in self._lists(len(expected) - 1):
                for normed in (True, False):
                    self.blocks, self.normed = blocks, normed
                    found = self._try(inputs)
                    if found is not None and all(map(torch.equal, found, expected)):
                        break
                else:
                    continue
                break
            else:
                self.blocks = None
        self.names = ["embeddings", *(f"layers.{i}" for i in range(len(expected) - 1))]

    def read(self, inputs: Mapping[str, Any], pool: Callable[[Any], Any]) -> list[Any]:
        """`pool(state)` of every state."""
        return self._library(inputs, pool) if self.blocks is None else self._hooked(inputs, pool)

    def _library(self, inputs: Mapping[str, Any], pool: Callable[[Any], Any]) -> list[Any]:
        output = self.part(**inputs, output_hidden_states=True)
        states = getattr(output, "hidden_states", None)
        if states is None or len(states) < 2:
            raise ExtractionError(
                f"{self.name} ({type(self.part).__name__}) gives no hidden states. extractors.extract_module reads any "
                "torch module by the names of its layers."
            )
        return [pool(state) for state in states]

    def _lists(self, count: int) -> list[Any]:
        import torch

        return [m for m in self.part.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]

    def _try(self, inputs: Mapping[str, Any]) -> list[Any] | None:
        import torch

        try:
            return self._hooked(inputs, torch.clone)
        except (KeyError, IndexError, AttributeError, TypeError):  # modules that are no layers in a row
            return None

    def _hooked(self, inputs: Mapping[str, Any], pool: Callable[[Any], Any]) -> list[Any]:
        first: list[Any] = []
        found: dict[Any, Any] = {}

        def enter(module, args, kwargs):
            first.append(pool(args[0] if args else kwargs["hidden_states"]))

        def keep(module, args, output):
            found[module] = pool(output[0] if isinstance(output, tuple) else output)

        handle = self.blocks[0].register_forward_pre_hook(enter, with_kwargs=True)
        try:
            with forward_hooks(self.blocks, keep):
                output = self.part(**inputs)
        finally:
            handle.remove()
        outputs = [found[block] for block in self.blocks]
        return [first[0], *outputs[:-1], pool(output.last_hidden_state) if self.normed else outputs[-1]]
