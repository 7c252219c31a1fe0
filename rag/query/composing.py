"""From ranked sentences to the parts of an answer: what leads, what supports it, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag.query.segments import is_run_in_heading
from rag.query.selecting import Candidate, Reading, says_the_same

_ENOUGH: Final = 0.85  # of the best score: below it a sentence adds more noise than support
_UNDER_SAME_TITLE: Final = 0.08
_READABLE_LEAD: Final = 320  # characters
_LEAD_TOLERANCE: Final = 0.92  # another sentence may lead when its score is this close to the best
_TITLED_TOLERANCE: Final = 0.82
# Items and characters up to which a list is quoted whole, because half a list can mislead: as the lead, as support.
_WHOLE_LEAD: Final = (8, 1200)
_WHOLE_SUPPORT: Final = (4, 700)
_ROWS: Final = 5  # of one table


@dataclass(frozen=True, slots=True)
class Part:
    """Segments of one passage that are worded together: a sentence, the items of a list, or rows of a table.

    `positions` are places in the reading's segments, in order; `lead` is that of the words that lead into them.
    """

    number: int
    lead: int | None
    positions: tuple[int, ...]


def compose(ranked: Sequence[Candidate], readings: Sequence[Reading], limit: int) -> list[Part]:
    """At most `limit` parts in the order in which they are read; none when nothing was ranked."""
    ranked = [each for each in ranked if not _says_nothing(each, readings[each.number - 1])]
    if not ranked:
        return []
    chosen = [_lead(ranked)]
    parts = [_part(chosen[0])]
    for each in _supporting(ranked, chosen[0]):
        if each is chosen[0] or any(says_the_same(each, other) for other in chosen):
            continue
        home = next((index for index, part in enumerate(parts) if _together(part, each, readings)), None)
        if home is not None and len(parts[home].positions) < _ROWS:
            parts[home] = replace(parts[home], positions=tuple(sorted({*parts[home].positions, each.position})))
        elif home is None and len(parts) < limit and not (_is_row(each) and _has_table(parts, readings)):
            parts.append(_part(each))
        else:
            continue
        chosen.append(each)
    whole = [
        _whole_list(part, readings[part.number - 1], *(_WHOLE_SUPPORT if index else _WHOLE_LEAD))
        for index, part in enumerate(parts)
    ]
    return _ordered(_without_repeats(whole), readings)


def _says_nothing(candidate: Candidate, reading: Reading) -> bool:
    """True for the title of a paragraph, and for a row of a table that has a name and no figures."""
    if _is_row(candidate):
        return not any(character.isdigit() for character in candidate.words)
    return _is_title(candidate.position, reading)


def _is_row(candidate: Candidate) -> bool:
    return candidate.segment.kind == "row"


def _has_table(parts: Sequence[Part], readings: Sequence[Reading]) -> bool:
    """Filings repeat the same figures in several tables; one of them is enough."""
    return any(readings[part.number - 1].segments[part.positions[0]].kind == "row" for part in parts)


def _lead(ranked: Sequence[Candidate]) -> Candidate:
    """The best, or one that is nearly as good and reads better: what comes before it in the passage, or is shorter.

    Rules come before their exceptions. Under the title of the same paragraph, less of the best score will do.
    """
    best = ranked[0]
    readable = [each for each in ranked if len(each.words) <= _READABLE_LEAD]
    close = [each for each in readable if each.score >= _LEAD_TOLERANCE * best.score]
    titled = [each for each in readable if each.score >= _TITLED_TOLERANCE * best.score and _same_title(each, best)]
    earlier = [each for each in (*close, *titled) if each.number == best.number]
    return min(earlier, key=lambda each: each.position) if earlier else next(iter(close), best)


def _supporting(ranked: Sequence[Candidate], lead: Candidate) -> list[Candidate]:
    """What is close to the best in score, best first; what stands under the lead's title is preferred."""
    preferred = {id(each): each.score + (_UNDER_SAME_TITLE if _same_title(each, lead) else 0.0) for each in ranked}
    close = [each for each in ranked if preferred[id(each)] >= _ENOUGH * ranked[0].score]
    return sorted(close, key=lambda each: -preferred[id(each)])


def _same_title(each: Candidate, best: Candidate) -> bool:
    return (
        each.number == best.number and bool(best.segment.titles) and each.segment.titles[:1] == best.segment.titles[:1]
    )


def _part(candidate: Candidate) -> Part:
    return Part(candidate.number, candidate.segment.lead, (candidate.position,))


def _together(part: Part, candidate: Candidate, readings: Sequence[Reading]) -> bool:
    """True when the candidate is an item of the part's list or a row of its table."""
    first, segment = readings[part.number - 1].segments[part.positions[0]], candidate.segment
    if part.number != candidate.number or first.kind != segment.kind or segment.kind == "sentence":
        return False
    return part.lead == segment.lead and first.header == segment.header


def _whole_list(part: Part, reading: Reading, items: int, characters: int) -> Part:
    """The part with all items of its list, where the list is short."""
    if part.lead is None or reading.segments[part.positions[0]].kind != "item":
        return part
    whole = tuple(_below(part.lead, reading))
    length = sum(reading.segments[each].end - reading.segments[each].start for each in whole)
    return replace(part, positions=whole) if len(whole) <= items and length <= characters else part


def _below(lead: int, reading: Reading) -> Iterator[int]:
    """Everything that this lead leads into, lists inside the list included."""
    for position, segment in enumerate(reading.segments):
        if segment.lead == lead and segment.kind in ("item", "lead_in") and not _is_title(position, reading):
            yield position
            yield from _below(position, reading) if segment.kind == "lead_in" else ()


def _is_title(position: int, reading: Reading) -> bool:
    """True for "Periodic statement; timely notice not given." among items: it is the title of a paragraph."""
    segment, following = reading.segments[position], reading.segments[position + 1 :]
    if segment.kind != "item" or not is_run_in_heading(reading.words(segment)):
        return False
    between = reading.passage.text[segment.end : following[0].start] if following else "\n"
    goes_on = bool(following) and following[0].kind == "sentence" and "\n" not in between
    return goes_on or any(each.lead == segment.lead for each in following)


def _without_repeats(parts: Sequence[Part]) -> list[Part]:
    """Parts whose list stands whole inside another part's list are said already."""
    said = {(part.number, position) for part in parts for position in part.positions}
    return [part for part in parts if part.lead is None or (part.number, part.lead) not in said]


def _ordered(parts: Sequence[Part], readings: Sequence[Reading]) -> list[Part]:
    """The lead first; then in reading order, the lead's document before the others."""
    first_title = readings[parts[0].number - 1].passage.title

    def place(part: Part) -> tuple[bool, str, int, int]:
        title = readings[part.number - 1].passage.title
        return (title != first_title, title, part.number, part.positions[0])

    return [parts[0], *sorted(parts[1:], key=place)]
