"""Preference tuning: of two answers to a prompt, the better one is made likelier (DPO).

Rafailov et al. 2023, "Direct Preference Optimization" (arXiv 2305.18290), equation 7. The reference model is
the base with the adapter switched off, so it takes no memory; what it makes of a pair never changes, and is
computed once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sealora.models.batch import Batch
from sealora.models.chat import ChatFormat, Span, read_pair, tokens_within, written_where_possible
from sealora.models.instruction import InstructionTuning
from sealora.models.language_settings import PREFERENCE_TUNING, InstructionOptions, PreferenceOptions
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.task import LOSS_UNITS, Cells, Counts, Example, Record, SumSpec, UnusableRow
from sealora.models.token_scores import LEFT_OUT, Scored, apart, token_scores
from sealora.models.tokens import encodings

MAX_ROWS = 2**24 - 1
"""Most pairs of one site that are counted."""
MAX_LOSS = 2**6
"""A pair's loss, and each of its rewards, counts as at most this much in the reported means."""
NOISED_LOSS = 4.0
"""Under noise a pair's loss, and its rewards together, count as at most this."""
TIE = 1e-3
"""Answers whose odds changed less than this, in nats, are tied: rounding alone gives as much."""
METRICS = ("loss", "margin", "accuracy", "chosen_reward", "rejected_reward")

Sums = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Pair:
    """The target of a pair: where its answers are, and how likely the reference model finds them."""

    places: tuple[tuple[int, ...], tuple[int, ...]]
    """Places of the tokens of the better and the worse answer, each in its own sequence."""
    reference: tuple[float, float] | None = None
    """Log-probabilities of both answers to the base alone, once they are known."""


class PreferenceTuning(InstructionTuning):
    """An answer's reward is β times how much likelier it is to the model than to the reference."""

    card = PREFERENCE_TUNING
    headline = "accuracy"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, settings: TaskSettings) -> None:
        options = PreferenceOptions.model_validate(settings.options)
        self.settings = settings
        self.options = InstructionOptions(system=options.system, max_new_tokens=options.max_new_tokens)
        self._beta = options.beta

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Reads a conversation that ends with a prompt, or a prompt, and two answers."""

        def read(cells: Cells) -> Record:
            asked, chosen, rejected = read_pair(cells, data)
            return Record((asked, chosen, rejected))

        return read

    def encode(
        self, records: Sequence[Record], tokenizer: Any
    ) -> Iterator[tuple[Example | UnusableRow | None, bool]]:
        """See Task. Long answers are cut at their end; a pair whose answers are then equal is of no use."""
        chat = ChatFormat(tokenizer, self.options.system)

        def write(record: Record) -> list[tuple[str, list[Span]]]:
            pair: Any = record.content
            asked, *answers = pair
            return [chat.written((*asked, ("assistant", answer))) for answer in answers]

        written = written_where_possible(write, records)
        texts = [text for pair in written if not isinstance(pair, UnusableRow) for text, _ in pair]
        found = encodings(texts, tokenizer)
        for pair in written:
            if isinstance(pair, UnusableRow):
                yield pair, False
                continue
            (chosen, first, long), (rejected, second, also_long) = (
                self._side(next(found), spans) for _, spans in pair
            )
            usable = first and second and chosen != rejected
            example = Example(chosen, Pair((first, second)), others=(rejected,))
            yield example if usable else None, long or also_long

    def _side(
        self, encoding: Any, spans: Sequence[tuple[int, int]]
    ) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
        """Tokens, the places of those of the last answer, and whether some were cut off."""
        longest = self.settings.max_length
        places = tokens_within(encoding.offsets[:longest], spans[-1:])
        return tuple(encoding.ids[:longest]), places, len(encoding.ids) > longest

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """See Task: the answers are the second half, and the same backwards."""
        chosen = tuple(tokens[: self.settings.max_length])
        begin = max(1, len(chosen) // 2)
        rejected = chosen[:begin] + chosen[begin:][::-1]
        places = tuple(range(begin, len(chosen)))
        return Example(chosen, Pair((places, places), (-1.0, -1.0)), others=(rejected,))

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> Batch:
        """Two rows for each pair, side by side; targets are the reference's log-probabilities, (pairs, 2)."""
        rows = [
            Scored(tokens, [place - 1 for place in places], [tokens[place] for place in places])
            for example in examples
            for tokens, places in zip((example.tokens, *example.others), example.target.places, strict=True)
        ]
        batch = apart(rows, tokenizer.pad_token_id or 0)
        references = [example.target.reference or (0.0, 0.0) for example in examples]
        return replace(batch, targets=torch.tensor(references, dtype=torch.float32))

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """Log-probability of each pair's answers, the better one first, shape (examples, 2)."""
        labels = batch.places["labels"]
        scores = token_scores(model, replace(batch, targets=labels))
        likelihoods: torch.Tensor = -(scores[..., 0] * (labels != LEFT_OUT)).sum(dim=1)
        return likelihoods.reshape(-1, 2)

    def refer(self, example: Example, outputs: torch.Tensor) -> Example:
        """See Referring: `outputs` has shape (2,)."""
        chosen, rejected = outputs.tolist()
        return replace(example, target=replace(example.target, reference=(chosen, rejected)))

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """-log σ(margin) of each pair."""
        rewards = self._rewards(outputs, targets)
        return -functional.logsigmoid(rewards[:, 0] - rewards[:, 1])

    def _rewards(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self._beta * (outputs.float() - targets)

    def sums(self) -> tuple[SumSpec, ...]:
        """Loss; pairs; half-points (2 for a pair in the right order, 1 for a tie); rewards.

        Rewards can be negative and sums cannot: those above and below zero are counted apart, first of the
        better answers and then of the worse.
        """
        most = MAX_ROWS * MAX_LOSS * LOSS_UNITS
        return (
            SumSpec("loss", 1, most, NOISED_LOSS * LOSS_UNITS),
            SumSpec("rows", 1, MAX_ROWS, 1),
            SumSpec("points", 1, 2 * MAX_ROWS, 2),
            SumSpec("rewards", 4, most, NOISED_LOSS * LOSS_UNITS),
        )

    def count(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Counts]:
        """Sums of one batch: see `sums`."""
        losses = torch.nan_to_num(self.losses(outputs, targets).double(), nan=MAX_LOSS).clamp(0, MAX_LOSS)
        rewards = torch.nan_to_num(self._rewards(outputs, targets).double()).clamp(-MAX_LOSS, MAX_LOSS)
        margins = rewards[:, 0] - rewards[:, 1]
        order = margins.sign() * (margins.abs() > self._beta * TIE)
        signed = torch.stack([rewards.clamp(min=0), (-rewards).clamp(min=0)], dim=2).sum(dim=0)
        return {
            "loss": np.array([round(float(losses.sum()) * LOSS_UNITS)]),
            "rows": np.array([len(margins)]),
            "points": np.array([int(order.sum()) + len(margins)]),
            "rewards": np.rint(signed.numpy().reshape(-1) * LOSS_UNITS).astype(np.int64),
        }

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Loss; the mean margin between the rewards; the share of pairs in the right order; mean rewards.

        Ties count as half a pair, so that the base alone has an accuracy of 0.5. Noised sums may contradict
        each other; what they give is held within its range.
        """
        rows = float(sums["rows"][0])
        if rows <= 0:
            return dict.fromkeys(METRICS, float("nan"))
        above, below = np.clip(sums["rewards"] / LOSS_UNITS / rows, 0, MAX_LOSS).reshape(2, 2).T
        chosen, rejected = (above - below).tolist()
        return {
            "loss": max(0.0, float(sums["loss"][0])) / LOSS_UNITS / rows,
            "margin": chosen - rejected,
            "accuracy": min(max(0.0, float(sums["points"][0]) / 2 / rows), 1.0),
            "chosen_reward": chosen,
            "rejected_reward": rejected,
        }

    def tables(self, sums: Sums) -> dict[str, Any]:
        """The pairs behind the metrics."""
        return {"rows": int(sums["rows"][0])}
