"""The audit's classifier: what a linear model reads from a question and its options alone (scikit-learn)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from allocentric.core.types import Item

_WORD = re.compile(r"[\w.-]+")


def pick_options(train: Sequence[Item], gold: Sequence[int], test: Sequence[Item]) -> list[int]:
    """The option of each test item that a logistic regression over options finds likeliest.

    Every option is one example: n-grams of its text, its letter, its length among the others, whether the question
    says it, and the pairing of its words with the question's words, so that meanings can be learned and not only
    letters.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors = TfidfVectorizer(analyzer=lambda text: text, min_df=2, sublinear_tf=True)
    seen = vectors.fit_transform([list(_option_tokens(item, k)) for item in train for k in range(len(item.choices))])
    right = np.array([k == place for item, place in zip(train, gold, strict=True) for k in range(len(item.choices))])
    if right.all() or not right.any():
        return [0] * len(test)
    model = LogisticRegression(solver="liblinear", C=10.0, random_state=0).fit(seen, right)
    new = vectors.transform([list(_option_tokens(item, k)) for item in test for k in range(len(item.choices))])
    scores = np.split(model.decision_function(new), np.cumsum([len(item.choices) for item in test])[:-1])
    return [int(np.argmax(score)) for score in scores]


def predict_numbers(train: Sequence[Item], gold: Sequence[float], test: Sequence[Item]) -> list[float]:
    """Ridge regression from TF-IDF n-grams of the question to the logarithm of the number."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=_WORD.pattern, sublinear_tf=True)
    seen = vectors.fit_transform([item.prompt for item in train])
    model = Ridge(alpha=0.3, random_state=0).fit(seen, np.log1p(np.maximum(gold, 0.0)))
    return [float(value) for value in np.expm1(model.predict(vectors.transform([item.prompt for item in test])))]


def _option_tokens(item: Item, index: int) -> Iterator[str]:
    question = _words(item.prompt)
    pairs = list(itertools.pairwise(question))
    option = _words(item.choices[index])
    yield f"letter={index}"
    yield f"length={sorted(len(text) for text in item.choices).index(len(item.choices[index]))}"
    yield f"said={item.prompt.lower().count(item.choices[index].lower())}"
    yield f"text={' '.join(option)}"
    for word in option:
        yield f"word={word}"
        for said in question:
            yield f"{word}|{said}"
        for first, second in pairs:
            yield f"{word}|{first} {second}"


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
