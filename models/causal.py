"""What the tasks of causal language models share: each token is predicted from those before it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sealora.models.batch import Batch
from sealora.models.generation import generated
from sealora.models.language_settings import CausalOptions
from sealora.models.settings import TaskSettings
from sealora.models.task import Example, Reader
from sealora.models.token_metrics import TokenMetrics
from sealora.models.token_scores import Scored, apart, mean_losses, packed, token_scores
from sealora.protocol.errors import PlanError


class CausalTask(TokenMetrics):
    """An example's target is the places of the tokens that are learnt, its weight is their number."""

    options_class: type[CausalOptions] = CausalOptions

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.options = self.options_class.model_validate(settings.options)

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """See Task: the second half is learnt."""
        chosen = tuple(tokens[: self.settings.max_length])
        return learnt(chosen, tuple(range(max(1, len(chosen) // 2), len(chosen))))

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> Batch:
        """See Task. Targets are the tokens that are learnt, int64 (examples, most of them)."""
        padding = tokenizer.pad_token_id or 0
        return causal_batch(examples, padding, self.settings.max_length, packed and self.options.packing)

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """See `token_scores`."""
        return token_scores(model, batch)

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of every example's tokens; by weight their mean is that of all tokens."""
        return mean_losses(outputs, targets)

    def class_bias(self, targets: Sequence[Any]) -> torch.Tensor:
        """Raises PlanError: there are no classes."""
        raise PlanError("a language model has no classes.", "Write training.label_calibration = 0.0.")

    def predict(self, reader: Reader, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The likeliest way to go on, token by token, from each example."""
        texts = generated(reader, [example.tokens for example in examples], self.options.max_new_tokens)
        return [{"response": text} for text in texts]

    def line(self, prediction: Mapping[str, Any]) -> str:
        """The response in one line."""
        return " ".join(str(prediction["response"]).split())


def learnt(tokens: tuple[int, ...], places: tuple[int, ...]) -> Example:
    """An example of which the tokens at these places are learnt."""
    return Example(tokens, places, weight=float(len(places)))


def causal_batch(examples: Sequence[Example], padding: int, width: int, together: bool) -> Batch:
    """Examples whose targets are places of tokens, each to be predicted from the place before.

    `together` puts them into rows of `width` tokens; see `packed`.
    """
    sequences = [
        Scored(e.tokens, [place - 1 for place in e.target], [e.tokens[place] for place in e.target])
        for e in examples
    ]
    return packed(sequences, padding, width) if together else apart(sequences, padding)
