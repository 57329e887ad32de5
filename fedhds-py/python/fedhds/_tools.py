"""Rouge-L."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import _guard, _native
from ._guard import guarded


@dataclass(frozen=True)
class RougeL:
    """Precision, recall and F1, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


@guarded
def rouge_l(
    prediction: str, references: str | Sequence[str], *, flavor: str = "rouge", stemmer: bool = False
) -> RougeL:
    """Rouge-L against the reference that fits best by F1.

    Args:
        prediction: the text that was generated.
        references: one or more right answers.
        flavor: ``"rouge"``, the package that the paper used, or ``"rouge_score"``: their figures must not be compared.
        stemmer: ``rouge_score``'s.

    Example:
        >>> import fedhds
        >>> round(fedhds.rouge_l("a cat sat", "the cat sat", flavor="rouge_score").f1, 3)
        0.667
    """
    text = _guard.text("prediction", prediction)
    texts = [references] if isinstance(references, str) else _guard.texts("references", references)
    return RougeL(*_native.rouge_l(text, texts, flavor, stemmer))
