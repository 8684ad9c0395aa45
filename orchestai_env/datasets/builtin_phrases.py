"""Words of the built-in workflows: how requests begin, and what a step of each type may say.

A step without parents takes material of the request's theme; one with parents says what it does
with their results. So no step names a document, a recording or a table that nobody has.
"""

from __future__ import annotations

import functools
import itertools
import string
from collections.abc import Mapping

from orchestai_env.datasets.builtin_themes import Theme, Words
from orchestai_env.datasets.splits import Split, split_of

_SLOTS: Mapping[str, Words] = {
    "language": ("German", "French", "Spanish", "Japanese", "Polish"),
    "programming": ("Python", "TypeScript", "Java"),
    "length": ("three sentences", "one paragraph", "five bullet points"),
    "reader": ("the board", "new colleagues", "the finance team", "the press office"),
    "period": ("the last quarter", "the last year", "the past 30 days"),
    "field": ("names and dates", "amounts", "open questions", "deadlines", "decisions"),
    "point": (
        "whether the date can be kept",
        "whether the budget is enough",
        "who has to agree",
        "what is still missing",
        "which risks are left",
    ),
    "deadline": ("today", "by noon", "by Friday", "before the weekend", "this week", "by Monday"),
}
"""Words that fit any theme; the others come from the theme."""

_FIRST: Mapping[str, Words] = {
    "speech_transcription": (
        "transcribe {recording}",
        "transcribe {recording} and name the speakers",
        "transcribe {recording} and leave out filler words",
        "write down {recording} word for word",
    ),
    "image_understanding": (
        "describe what the {picture} show",
        "read all labels and numbers on the {picture}",
        "sort the {picture} by what they show",
    ),
    "text_extraction": ("extract {detail}", "list {detail}", "copy {detail} into a table"),
    "translation": (
        "translate the {document} into {language}",
        "turn the {document} into plain {language}",
    ),
    "question_answering": (
        "answer {question}",
        "answer {question} and give reasons",
        "explain to {reader} {question}",
    ),
    "data_analysis": (
        "find the trend in the {table} over {period}",
        "look for outliers in the {table} of {period}",
        "compare the {table} of {period} with the period before",
    ),
    "summarization": (
        "summarize the {document} in {length} for {reader}",
        "condense the {document} into {length}",
    ),
    "code_generation": (
        "write a {programming} script that {does}",
        "write a {programming} script that {does}, with unit tests",
        "port the script that {does} to {programming}",
    ),
    "planning": (
        "plan {plan} step by step",
        "set up a schedule for {plan}",
        "plan {plan} and say who does what",
    ),
    "document_generation": (
        "draft {letter}",
        "draft {letter} and a short version of it",
        "prepare slides on the {project} for {reader}",
    ),
}
"""What a step without parents may say."""

_NEXT: Mapping[str, Words] = {
    "speech_transcription": (
        "transcribe {recording} and mark what bears on {given}",
        "transcribe {recording} and spell all names as in {given}",
    ),
    "image_understanding": (
        "check the {picture} against {given}",
        "find on the {picture} what is named in {given}",
    ),
    "text_extraction": (
        "list all {field} found in {given}",
        "pull all {field} out of {given} into a table",
    ),
    "translation": (
        "translate {given} into {language}",
        "translate {given} into {language} for {reader}",
    ),
    "question_answering": (
        "answer from {given} {point}",
        "answer from {given} what {reader} should know about the {project}",
    ),
    "data_analysis": (
        "compare the {table} with {given}",
        "check {given} against the {table} and report every gap",
        "use {given} to explain the trend in the {table} over {period}",
    ),
    "summarization": (
        "summarize {given} in {length} for {reader}",
        "condense {given} into {length}",
    ),
    "code_generation": (
        "write a {programming} script that loads {given} into the {system}",
        "write a {programming} script that searches the {system} for what is named in {given}",
    ),
    "planning": (
        "plan {plan} on the basis of {given}",
        "set up a schedule for {plan} that takes up {given}",
    ),
    "document_generation": (
        "draft {letter} on the basis of {given}",
        "write a report on the {project} for {reader} from {given}",
        "prepare slides for {reader} from {given}",
    ),
}
"""What a step may say that works on the results of others."""

_SPECIAL: Mapping[tuple[str, str], Words] = {
    ("code_generation", "data_analysis"): (
        "write a {programming} script that repeats the analysis every week",
        "write a {programming} script that shows the analysis in the {system}",
    ),
    ("data_analysis", "question_answering"): (
        "check the answer against the {table} and report every gap",
        "back the answer with figures from the {table} of {period}",
    ),
    ("summarization", "question_answering"): (
        "condense the answer into one sentence for {reader}",
        "explain the answer to {reader} in {length}",
    ),
    ("summarization", "code_generation"): (
        "summarize what the new script does in {length} for {reader}",
    ),
    ("planning", "code_generation"): (
        "plan how the new script goes live in the {system}",
        "plan how the new script is tested on the {system}",
    ),
    ("document_generation", "code_generation"): (
        "write a user guide of the new script for {reader}",
        "prepare slides that show {reader} how the new script works",
    ),
}
"""(task type, type of its one parent) -> what a step says instead, where the general words fail."""

_RESULTS: Mapping[str, str] = {
    "speech_transcription": "the transcript",
    "image_understanding": "the picture notes",
    "text_extraction": "the list",
    "translation": "the translation",
    "question_answering": "the answer",
    "data_analysis": "the analysis",
    "summarization": "the summary",
    "code_generation": "the new script",
    "planning": "the plan",
    "document_generation": "the draft",
}
"""What the result of a step is called by the steps that need it."""

_STAGES = (
    {"speech_transcription", "image_understanding", "text_extraction"},
    {"translation", "question_answering", "data_analysis"},
    {"summarization", "code_generation"},
    {"planning", "document_generation"},
)

_OPENINGS = (
    "{client} needs help with {matter} {deadline}.",
    "Please do this for {client} {deadline}; it is about {matter}.",
    "A request from {client} about {matter}, to be done {deadline}:",
    "We promised {client} the following {deadline}, for {matter}.",
)

_CLIENT_NAMES = (
    ("Alder", "Beacon", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbour", "Juniper"),
    ("Bank", "Clinics", "Logistics", "Foods", "Energy", "Schools", "Textiles", "Media", "Rail"),
)


def stage(task_type: str) -> int:
    """Returns where in a workflow steps of a type belong: 0 reads material, 3 concludes."""
    return next((n for n, types in enumerate(_STAGES) if task_type in types), 1)


@functools.cache
def first_steps(theme: Theme, task_type: str) -> tuple[Words, ...]:
    """Returns all that a step without parents may say, in groups of one wording each.

    Args:
        theme: what the request is about.
        task_type: a type that is unknown here is named in general words.
    """
    templates = _FIRST.get(task_type, ("carry out the {task} of the {document}",))
    words = {"task": (_spoken(task_type),)}
    return tuple(_filled(text, theme, words) for text in templates)


@functools.cache
def next_steps(theme: Theme, task_type: str, parent: str | None) -> tuple[Words, ...]:
    """Returns all that a step may say that needs results, in groups of one wording each.

    Args:
        theme: what the request is about.
        task_type: a type that is unknown here is named in general words.
        parent: type of the step whose result it needs; None where there are several.
    """
    templates = _NEXT.get(task_type, ("carry out the {task} with {given}",))
    given = "these results"
    if parent is not None:
        templates = _SPECIAL.get((task_type, parent), templates)
        given = _RESULTS.get(parent, f"the result of the {_spoken(parent)}")
    words = {"task": (_spoken(task_type),), "given": (given,)}
    return tuple(_filled(text, theme, words) for text in templates)


def _spoken(task_type: str) -> str:
    return task_type.replace("_", " ")


def _filled(template: str, theme: Theme, words: Mapping[str, Words]) -> Words:
    """Returns a template with every combination of words in its slots."""
    slots = [slot for _, slot, _, _ in string.Formatter().parse(template) if slot]
    choices = [words.get(slot) or _SLOTS.get(slot) or _theme_words(theme, slot) for slot in slots]
    return tuple(
        template.format(**dict(zip(slots, chosen, strict=True)))
        for chosen in itertools.product(*choices)
    )


def _theme_words(theme: Theme, slot: str) -> Words:
    found: str | Words = getattr(theme, slot)
    return (found,) if isinstance(found, str) else found


@functools.cache
def clients(split: Split) -> Words:
    """Returns the clients of a split; a client belongs to one split, by `split_of` its name."""
    names = map(" ".join, itertools.product(*_CLIENT_NAMES))
    return tuple(name for name in names if split_of(name) == split)


@functools.cache
def openings(client: str, theme: Theme) -> tuple[Words, ...]:
    """Returns the sentences that may open a request of a client, in groups of one wording each."""
    return tuple(_filled(text, theme, {"client": (client,)}) for text in _OPENINGS)
