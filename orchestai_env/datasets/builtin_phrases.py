"""Words of the built-in workflows: what a step of each task type may say, and whom it is for."""

from __future__ import annotations

import functools
import itertools
import string

from orchestai_env.datasets.splits import Split, split_of

_SLOTS: dict[str, tuple[str, ...]] = {
    "document": (
        "supplier contract",
        "annual report",
        "insurance claim",
        "meeting minutes",
        "tender documents",
        "delivery notes",
        "customer letters",
        "audit file",
        "safety handbook",
        "grant application",
    ),
    "field": (
        "payment terms",
        "delivery dates",
        "names and addresses",
        "invoice totals",
        "liability clauses",
        "part numbers",
        "open questions",
        "key figures",
    ),
    "language": ("German", "French", "Spanish", "Japanese", "Polish", "Portuguese", "Turkish"),
    "reader": ("the board", "new employees", "the sales team", "the press office", "a lawyer"),
    "length": ("one paragraph", "five bullet points", "half a page", "ten lines"),
    "topic": (
        "export rules",
        "energy prices",
        "data protection",
        "warranty law",
        "battery recycling",
        "shipping insurance",
        "sick leave",
        "patent fees",
    ),
    "component": (
        "billing service",
        "booking calendar",
        "stock database",
        "login page",
        "price calculator",
        "sensor driver",
        "search index",
        "report scheduler",
    ),
    "programming": ("Python", "TypeScript", "Java", "SQL", "Go"),
    "table": (
        "sales table",
        "energy meter log",
        "survey answers",
        "ticket history",
        "stock list",
        "web server log",
        "payroll export",
        "shipment records",
    ),
    "period": ("the last quarter", "last year", "the past 30 days", "the first half of the year"),
    "picture": (
        "floor plans",
        "product photos",
        "scanned receipts",
        "damage photos",
        "machine drawings",
        "shelf pictures",
        "satellite images",
        "whiteboard photos",
    ),
    "recording": (
        "board meeting",
        "support call",
        "customer interview",
        "conference talk",
        "radio spot",
        "training session",
        "voice memo",
        "hearing",
    ),
    "project": (
        "office move",
        "product launch",
        "trade fair",
        "warehouse rebuild",
        "database migration",
        "hiring round",
        "night shift roster",
        "field trial",
    ),
    "deadline": ("today", "by noon", "by Friday", "before the weekend", "this week", "by Monday"),
}

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "text_extraction": (
        "extract the {field} from the {document}",
        "list all {field} found in the {document}",
        "pull the {field} out of the {document} into a table",
    ),
    "summarization": (
        "summarize the {document} in {length}",
        "condense the {document} into {length} for {reader}",
        "write a summary of the {document} for {reader}",
    ),
    "translation": (
        "translate the {document} into {language}",
        "turn the {document} into plain {language}",
        "translate the {field} of the {document} into {language}",
    ),
    "question_answering": (
        "answer what {reader} should know about {topic}",
        "answer whether anything changed about {topic} over {period}",
        "explain the effect of {topic} on the {project}",
    ),
    "code_generation": (
        "write a {programming} module for the {component}",
        "fix the failing tests of the {component} in {programming}",
        "port the {component} to {programming}",
        "write {programming} unit tests for the {component}",
    ),
    "data_analysis": (
        "find the trend in the {table} over {period}",
        "compute weekly totals of the {table} for {period}",
        "look for outliers in the {table} of {period}",
    ),
    "image_understanding": (
        "describe what the {picture} of the {project} show",
        "read the labels on the {picture} of the {project}",
        "compare the {picture} with those of {period}",
    ),
    "speech_transcription": (
        "transcribe the recording of the {recording} in {language}",
        "write down the {recording} on {topic} word for word",
        "produce subtitles for the {recording} about the {project}",
    ),
    "document_generation": (
        "draft a report on the {project} for {reader}",
        "write a proposal for the {project} that covers {topic}",
        "prepare slides on {topic} for {reader}",
    ),
    "planning": (
        "plan the {project} step by step",
        "lay out a schedule for the {project} over {period}",
        "work out in which order the {project} and the {component} can be done",
    ),
}

_OPENINGS = (
    "{client} needs the following {deadline}.",
    "Please do this for {client} {deadline}.",
    "A request from {client}, due {deadline}:",
    "We promised {client} the following {deadline}.",
)

_CLIENT_NAMES = (
    ("Alder", "Beacon", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbour", "Juniper"),
    ("Bank", "Clinics", "Logistics", "Foods", "Energy", "Schools", "Textiles", "Media", "Rail"),
)


def _filled(template: str, **fixed: tuple[str, ...]) -> list[str]:
    """Returns a template with every combination of words in its slots."""
    slots = [slot for _, slot, _, _ in string.Formatter().parse(template) if slot]
    choices = [fixed.get(slot) or _SLOTS[slot] for slot in slots]
    return [
        template.format(**dict(zip(slots, words, strict=True)))
        for words in itertools.product(*choices)
    ]


@functools.cache
def phrases(task_type: str) -> tuple[str, ...]:
    """Returns all that a step of a task type may say; a type unknown here is named in it."""
    templates = _TEMPLATES.get(task_type, ("carry out the {task} of the {document} on {topic}",))
    task = (task_type.replace("_", " "),)
    return tuple(
        itertools.chain.from_iterable(_filled(template, task=task) for template in templates)
    )


@functools.cache
def clients(split: Split) -> tuple[str, ...]:
    """Returns the clients of a split; a client belongs to one split, by `split_of` its name."""
    names = map(" ".join, itertools.product(*_CLIENT_NAMES))
    return tuple(name for name in names if split_of(name) == split)


@functools.cache
def openings(client: str) -> tuple[str, ...]:
    """Returns the sentences that may open a request of a client."""
    return tuple(
        itertools.chain.from_iterable(_filled(text, client=(client,)) for text in _OPENINGS)
    )
