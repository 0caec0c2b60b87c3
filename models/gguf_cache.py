"""GGUF models as folders of safetensors: converted once into the user's cache, and found there again.

Reading a GGUF file means to dequantise every weight, which takes some twenty times as long as reading the
result. The cache is trusted no more than any other folder: a run's base model is named by the hash of the
weights that were loaded.
"""

import hashlib
import struct
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from sealora.models.cache import cache_folder
from sealora.protocol.errors import ModelError

VERSION = 1
"""Counts up when a conversion gives other files."""
CHUNK = 2**20


def converted(path: Path) -> Path:
    """The folder of a GGUF file's model and tokenizer, float32, converted now unless it was before.

    Processes that ask at the same time wait for the first; one that ends early leaves nothing behind that
    looks like a model. Raises ModelError if the file cannot be read or the cache cannot be written.
    """
    try:
        name = f"{path.stem}-{_digest(path)[:16]}-v{VERSION}"
        folder = cache_folder() / "models" / name
        if folder.is_dir():
            return folder
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{name}.lock")):
            if not folder.is_dir():
                _convert(path, folder)
    except OSError as error:
        raise ModelError(
            f"{path.name} cannot be converted ({error.strerror or error}).",
            "Let SEALORA_CACHE name a folder with a gigabyte to spare.",
        ) from None
    return folder


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _convert(path: Path, folder: Path) -> None:
    """Write the folder under another name, and give it its own when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as scratch:
        whole = Path(scratch) / "model"
        # Imported here because finding a converted model must not wait for transformers.
        from sealora.models.quiet import quiet

        with quiet():
            model, tokenizer = _read(path)
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
        whole.rename(folder)


def _read(path: Path) -> tuple[Any, Any]:
    """Model and tokenizer, from the one file that holds both."""
    # Imported here because finding a converted model must not wait for these.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {
        "pretrained_model_name_or_path": str(path.parent),
        "gguf_file": path.name,
    }
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    except ImportError:
        raise ModelError("GGUF models need the gguf package.", "pip install gguf") from None
    except (ValueError, KeyError, IndexError, RuntimeError, struct.error) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path.name} is not a GGUF model that can be read: {reason}") from None
    # Dequantised weights are plain ones; transformers would otherwise refuse to save them as such.
    del model.config.quantization_config
    model.hf_quantizer = None
    return model, tokenizer
