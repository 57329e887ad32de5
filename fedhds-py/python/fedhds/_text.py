"""Features of texts without a model, and near copies among records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _guard, _native
from ._guard import guarded
from ._arrays import seed as _seed
from ._model import Adapter
from ._records import Record, _checked
from ._remade import Remade

# The core's defaults: they are written down there alone.
_TEXT, _COPIES = _native.TextFeaturesConfig(), _native.NearCopiesConfig()


@guarded
class TextFeatures(Remade):
    """Features of records without a model: what letters their texts are made of.

    A row is a signed sparse hash of the words' runs of three and four characters, those of the instruction apart from those of input and
    response, at length 1. Rows of one seed lie in one frame, whoever made them, so that clients need share nothing else. What a method
    with ``features = "text"`` (``fedhds_robust``) takes where nothing else is given.

    Args:
        dims: columns, from 4 to 4,096. Two rows' dot product is off by about ``1 / sqrt(dims)``.
        seed: of the hash; None is the number that all clients share unless they agree on another.

    Raises:
        ParameterError: that names a setting and its value, for one outside of its range or of another kind.

    Example:
        >>> import fedhds
        >>> train, _ = fedhds.embedded_records(records_per_task=1)
        >>> fedhds.TextFeatures().extract(train[:3]).shape
        (3, 128)
    """

    is_frozen = True
    """A record's row never changes."""
    layers = 1
    """Equal parts of a row: what ``layers`` of :class:`fedhds.Client` and :class:`fedhds.Server` asks for."""

    def __init__(self, dims: int = _TEXT.dims, seed: int | None = None) -> None:
        config = _native.TextFeaturesConfig(dims=dims, seed=_TEXT.seed if seed is None else _seed(seed))
        self._native = _native.TextFeatures(config)
        self._made_of(TextFeatures, **config.as_dict())
        self.settings: dict[str, Any] = config.as_dict()

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints promise equal features."""
        return self._native.fingerprint

    def extract(self, records: Any, adapter: Adapter | None = None) -> NDArray[np.float32]:
        """Features of shape [records, dims], in the order of the records; no adapter has a say."""
        return self._native.extract(_checked(records))

    def prompts(self, records: Any) -> NDArray[np.float32]:
        """Rows of the records' instructions alone, [records, dims]: the ``prompts`` of :meth:`fedhds.Client.summarize`, which tell topics apart.

        Where all records have one instruction, in whatever clothes, which tells nothing apart, the rows are of their categories.
        """
        return self._native.prompts(_checked(records))

    def of_texts(self, instructions: Sequence[str], rests: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Features of texts that are no records, [n, dims]: see :func:`text_features`."""
        return self._native.of_texts(_texts("instructions", instructions), _texts("rests", rests))

    def __repr__(self) -> str:
        return f"TextFeatures(dims={self.settings['dims']}, seed={self.settings['seed']})"


@guarded
def text_features(
    instructions: Sequence[str],
    rests: Sequence[str] | None = None,
    *,
    dims: int = _TEXT.dims,
    seed: int | None = None,
) -> NDArray[np.float32]:
    """Features of texts without a model, [n, dims]: the rows of :class:`TextFeatures`.

    Args:
        instructions: what is asked, one text for each row.
        rests: input and response of each, in one text with a blank between; None for the instructions alone.
        dims, seed: as for :class:`TextFeatures`.

    Raises:
        InputError: for anything but texts, or another number of rests than of instructions.

    Example:
        >>> import fedhds
        >>> one, other = fedhds.text_features(["Name the animal's sound.", "Name the  ANIMAL'S sound"], ["cow moo", "a cow moo"])
        >>> bool(one @ other > 0.8)
        True
    """
    return TextFeatures(dims, seed).of_texts(instructions, rests)


def _texts(name: str, texts: Any) -> Any:
    """A list of texts, or None."""
    if texts is None and name == "rests":
        return None
    return _guard.texts(name, texts)


@guarded
def near_copies(
    records: Any, *, extra_words: int = _COPIES.extra_words, template_words: Sequence[str] = tuple(_COPIES.template_words)
) -> NDArray[np.int64]:
    """Which records of one client say the same: a number for each, [n], from 0 in the order of the first of each group.

    Copies differ in blanks, case and punctuation, or in what a template puts around the instruction. A word that is another one makes
    another record, however many words are the same.

    Args:
        records: whatever :func:`fedhds.as_records` takes.
        extra_words: words in all that a template may add before and behind an instruction, from 0 to 16.
        template_words: words that say nothing at the ends of an instruction or an input.

    Raises:
        ParameterError: for a setting out of range.

    Example:
        >>> import fedhds
        >>> asked = ["Name the sound of a cow.", "Name the sound of a sheep.", "Please: name the  sound of a cow"]
        >>> said = ["moo", "baa", "Moo."]
        >>> fedhds.near_copies([{"instruction": a, "response": s} for a, s in zip(asked, said)]).tolist()
        [0, 1, 0]
    """
    config = _native.NearCopiesConfig(extra_words=extra_words, template_words=template_words)
    copies = _native.NearCopies(config)
    copies.add(_checked(records))
    return copies.groups()


def copies_of(method: Any, records: Sequence[Record]) -> NDArray[np.int64] | None:
    """The near copies among a client's records, where the method lets them count as one; else None."""
    return near_copies(records) if method.settings["client"]["near_copies"] == "collapse" else None


def counts_distinct(method: Any) -> bool:
    """Whether it matters to the method how many distinct records a group has."""
    client = method.settings["client"]
    least = max(client["min_group_size"], client["upload"]["min_group_size"])
    return bool(least > 1 and client["clusterer"]["kind"] != "none")


def takes_text(method: Any) -> bool:
    """Whether the method's features are those of the records' texts."""
    return bool(method.settings["features"] == "text")
