"""The form of a suite. Unknown keys are refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from evaluations.gate.policy import Floor

Format = Literal["beir", "questions", "conversations", "statements", "csv"]
Task = Literal["search", "answer", "verify"]
Place = Literal["shipped", "external"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(_Strict):
    """What the questions are asked of, where the target is a pipeline in this process.

    `profile`: the sources of the suite's profile. `folder`: the files below `path` that `include` names. `beir`: the
    passages of the data set. `contexts` and `rows`: what the rows of the data set carry along, or are. `none`: nothing
    is searched. A share of the rows, chosen by a digest of their ids, may be readable only with the label `access`,
    which nobody has.
    """

    kind: Literal["profile", "folder", "beir", "contexts", "rows", "none"] = "none"
    path: str = ""
    include: tuple[str, ...] = ("**/*",)
    place: Place = "shipped"
    collection: str = "regulations"
    access: str = ""
    access_share: float = Field(default=0.0, ge=0, le=1)


class DataSource(_Strict):
    """A body of data. External ones are below the folder that BANKSIGHT_EVALUATION_DATA names.

    `fields` says what our fields are called in its rows; `slices` and `cluster` name fields of its rows; `where`
    keeps rows whose field is what the pattern says; `sample` draws so many items with the suite's seed; `contexts` is
    a file with the tables and paragraphs that rows name by `context_id`; `answerable` holds for rows that do not say.
    """

    name: str
    format: Format
    path: str
    place: Place = "external"
    split: str = "dev"
    origin: str = Field(min_length=3)
    licence: str = Field(min_length=3)
    fields: dict[str, str] = {}
    slices: tuple[str, ...] = ()
    cluster: str = ""
    where: dict[str, str] = {}
    sample: int | None = Field(default=None, ge=1)
    contexts: str = ""
    answerable: bool | None = None
    corpus: Corpus = Corpus()


class Suite(_Strict):
    """One suite. `depth` is how many passages a search asks for; `workers` how many items are produced at once.

    `profile` and `overrides` configure the pipeline in this process. A suite with `includes` runs those and no other.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    title: str
    includes: tuple[str, ...] = ()
    task: Task = "answer"
    data: tuple[DataSource, ...] = ()
    profile: str = "laptop"
    overrides: dict[str, Any] = {}
    metrics: tuple[str, ...] = ()
    thresholds: tuple[Floor, ...] = ()
    seed: int = 0
    repeats: int = Field(default=1, ge=1, le=100)
    workers: int = Field(default=2, ge=1, le=64)
    depth: int = Field(default=50, ge=1, le=200)

    @model_validator(mode="after")
    def _whole(self) -> Suite:
        if self.includes:
            if self.data or self.metrics:
                raise ValueError("a suite that includes others has neither data nor metrics of its own")
            return self
        if not self.data or not self.metrics:
            raise ValueError("a suite needs data and metrics")
        for what, names in (("data", [each.name for each in self.data]), ("metric", list(self.metrics))):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"the {what} {twice[0]!r} stands twice")
        if foreign := [each.metric for each in self.thresholds if each.metric not in self.metrics]:
            raise ValueError(f"the threshold for {foreign[0]!r} is on a metric that the suite does not compute")
        return self
