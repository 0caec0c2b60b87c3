"""Batches are rectangles of tokens, padded at the right."""

import pytest
import torch

from sealora.models.batch import Batch, padded, padded_inputs


def test_padding_fills_up_to_the_longest():
    inputs = padded_inputs([(3, 4), (5, 6, 7)], padding=9)
    assert inputs["input_ids"].tolist() == [[3, 4, 9], [5, 6, 7]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("rows", [[(1, 2)], [(1, 2), (3, 9)]])
def test_no_mask_where_nothing_is_padded(rows):
    """A real token may equal the padding token."""
    inputs = padded_inputs(rows, padding=9)
    assert inputs.keys() == {"input_ids"}
    assert inputs["input_ids"].tolist() == [list(row) for row in rows]


def test_labels_are_padded_with_what_the_loss_leaves_out():
    assert padded([(1,), (2, 3)], -100).tolist() == [[1, -100], [2, 3]]


def test_a_batch_moves_with_all_that_it_has():
    one = torch.ones(1)
    moved = Batch({"input_ids": one}, one, {"rows": one}).to(torch.device("meta"))
    assert {moved.inputs["input_ids"].device.type, moved.targets.device.type} == {"meta"}
    assert moved.places["rows"].device.type == "meta"
