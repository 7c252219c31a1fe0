"""What people do: the questions, how often each is asked, and how often people search, stop or upload."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rag.errors import ConfigurationError

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = Path(__file__).with_name("mix.yaml")

Kind = Literal["ask", "follow_up", "stop", "search", "upload"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Mix(BaseModel):
    """A mix as its file says it. `fresh` is a share of the questions, 0..1; `weights` and those of `questions` count
    against each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: dict[str, float] = Field(min_length=1)
    zipf: float = Field(ge=0, le=5)
    fresh: float = Field(ge=0, le=1)
    weights: dict[Kind, float]
    follow_ups: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> Mix:
        for name in ("weights", "questions"):
            weights = getattr(self, name).values()
            if any(weight < 0 for weight in weights) or not sum(weights):
                raise ValueError(f"{name}: no weight may be negative, and one must be more than 0")
        if self.weights.get("follow_up") and not self.follow_ups:
            raise ValueError("follow_up has a weight, but follow_ups lists none")
        return self


def load_mix(path: Path = SHIPPED) -> Mix:
    """The mix in a file. Raises `ConfigurationError` with what is wrong in it."""
    try:
        return Mix.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"the mix {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the mix {path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise ConfigurationError(f"the mix {path} is not valid: {place}: {first['msg']}") from error


def load_questions(mix: Mix, seed: int) -> list[list[str]]:
    """The questions of each file, the most frequent one first: their order is drawn. Raises `ConfigurationError`."""
    found: list[list[str]] = []
    for name in mix.questions:
        try:
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
            found.append(list(dict.fromkeys(str(json.loads(line)["question"]) for line in lines if line.strip())))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"the questions {name} cannot be used ({type(error).__name__}: {error}); "
                'each line must be JSON with a field "question"'
            ) from error
        if not found[-1]:
            raise ConfigurationError(f"the file {name} holds no question; leave it out of the mix")
        Random(seed).shuffle(found[-1])  # noqa: S311 - repeatable on purpose
    return found


def zipf_weights(number: int, exponent: float) -> list[float]:
    """Cumulative weights of the ranks 1 to `number` by Zipf's law, for `random.choices`."""
    return list(accumulate(1 / rank**exponent for rank in range(1, number + 1)))
