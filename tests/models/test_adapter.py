"""Adapters: tensors to bytes and vectors and back, bit for bit, and nothing but the layout's."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from sealora.models.adapter import Adapter, AdapterLayout, TensorSpec, flatten, pack, unflatten, unpack
from sealora.protocol.errors import ModelError

LAYOUT = AdapterLayout(
    (
        TensorSpec("a.lora_A", (2, 3), "A", "a", 2.0),
        TensorSpec("a.lora_B", (4, 2), "B", "a", 2.0, "personal"),
        TensorSpec("head", (2,), kind="frozen"),
    ),
    rank=2,
)

ANY_FLOAT32 = arrays.arrays(
    np.uint32, arrays.array_shapes(max_dims=3, max_side=5), elements=st.integers(0, 2**32 - 1)
).map(lambda bits: bits.view(np.float32))
"""Every bit pattern: NaNs with payloads, infinities, subnormals and both zeros."""
TENSORS = st.dictionaries(st.text(min_size=1, max_size=20).filter(lambda n: n != "__metadata__"), ANY_FLOAT32)


def values(start=0.0):
    count = iter(range(100))
    return {
        spec.name: np.array([start + next(count) for _ in range(spec.size)], np.float32).reshape(spec.shape)
        for spec in LAYOUT.specs
    }


def bits(tensors):
    return {name: (tensor.shape, tensor.view(np.uint32).tolist()) for name, tensor in tensors.items()}


@settings(deadline=None)
@given(TENSORS)
def test_bytes_and_back(tensors):
    raw = pack(tensors)
    assert bits(unpack(raw)) == bits(tensors)
    assert pack(dict(reversed(tensors.items()))) == raw, "the same values have the same bytes"


@settings(deadline=None)
@given(arrays.arrays(np.uint32, 16, elements=st.integers(0, 2**32 - 1)))
def test_vectors_and_back(words):
    vector = words.view(np.float32)
    tensors = unflatten(vector, LAYOUT.specs)
    LAYOUT.check(tensors)
    # Widening to float32 quiets signalling NaNs nowhere here: nothing is computed.
    assert flatten(tensors, [spec.name for spec in LAYOUT.specs]).tobytes() == vector.tobytes()


def test_a_view_that_is_not_contiguous_is_packed_as_its_values():
    tensor = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(unpack(pack({"t": tensor}))["t"], tensor)


def test_flattening_nothing():
    assert flatten({}, []).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head"), "['head']"),
        (lambda t: t.update(more=np.zeros(1, np.float32)), "['more']"),
        (lambda t: t.update(head=np.zeros((1, 2), np.float32)), "head is float32(1, 2), the plan says"),
        (lambda t: t.update(head=np.zeros(2)), "head is float64(2,), the plan says float32(2,)"),
    ],
)  # fmt: skip
def test_other_tensors_are_refused(change, message):
    tensors = values()
    change(tensors)
    with pytest.raises(ModelError) as caught:
        Adapter(LAYOUT, tensors)
    assert message in str(caught.value)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_a_layouts_names_are_sorted_and_unique(names):
    with pytest.raises(ModelError, match="unique names in sorted order"):
        AdapterLayout(tuple(TensorSpec(name, (1,)) for name in names), 1)


def test_a_layout_knows_its_tensors():
    assert LAYOUT.parameters == 16
    assert LAYOUT["head"].size == 2
    assert "head" in LAYOUT
    assert "tail" not in LAYOUT
    assert [spec.name for spec in LAYOUT.of_kind("shared", "frozen")] == ["a.lora_A", "head"]


def raw(number_format, length):
    """safetensors of four bytes in a format that numpy may not know."""
    entry = {"dtype": number_format, "shape": [length], "data_offsets": [0, 4]}
    header = json.dumps({"x": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def test_the_helper_writes_safetensors():
    np.testing.assert_array_equal(unpack(raw("F32", 1))["x"], [0.0])


RAW = {
    "no bytes": b"",
    "no tensors": b"nonsense",
    "float64": save({"x": np.zeros(2)}),
    "float16": save({"x": np.zeros(2, np.float16)}),
    "integers": save({"x": np.zeros(2, np.int64)}),
    "cut short": pack(values())[:-1],
    "a length beyond the end": (2**40).to_bytes(8, "little") + b"{}",
    "an unknown number format": raw("F99", 1),
    "bfloat16": raw("BF16", 2),
    "8-bit floats": raw("F8_E4M3", 4),
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
def test_other_bytes_are_refused(case):
    with pytest.raises(ModelError) as caught:
        unpack(RAW[case])
    assert "\n" not in str(caught.value)


def test_the_hash_names_values_names_and_shapes():
    adapter = Adapter(LAYOUT, values())
    assert adapter.sha256() == Adapter(LAYOUT, dict(reversed(values().items()))).sha256()
    assert adapter.sha256() != Adapter(LAYOUT, values(1.0)).sha256()
    zero = {**values(), "head": np.array([0.0, 0.0], np.float32)}
    negative = {**values(), "head": np.array([-0.0, 0.0], np.float32)}
    assert Adapter(LAYOUT, zero).sha256() != Adapter(LAYOUT, negative).sha256(), "bits count, not values"
    renamed = AdapterLayout(tuple(TensorSpec("b" + s.name, s.shape) for s in LAYOUT.specs), 2)
    other = Adapter(renamed, {"b" + name: tensor for name, tensor in values().items()})
    assert other.sha256() != adapter.sha256()


def test_replacing_checks_again():
    adapter = Adapter(LAYOUT, values())
    changed = adapter.replace({"head": np.ones(2, np.float32)})
    np.testing.assert_array_equal(changed.tensors["head"], [1, 1])
    np.testing.assert_array_equal(adapter.tensors["head"], values()["head"])
    with pytest.raises(ModelError):
        adapter.replace({"head": np.ones(3, np.float32)})


def test_values_stay_out_of_the_repr():
    assert "array" not in repr(Adapter(LAYOUT, values()))
