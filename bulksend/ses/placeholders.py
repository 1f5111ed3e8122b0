"""Which names a template takes from its data. Pure.

Source: developer guide, Advanced email personalization (Handlebars in SES templates).
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["fill", "variables_of"]

_MUSTACHE = re.compile(
    r"""(?P<escaped>\\)?
    (?: \{\{~?!--.*?--~?\}\}              # a comment that may hold braces
      | \{\{~?!.*?\}\}                    # a comment
      | (?P<raw>\{\{\{\{)
      | \{\{\{\s*(?P<plain>[^{}]*?)\s*\}\}\}
      | \{\{(?P<said>[^{}]*)\}\}
      | (?P<stray>\{\{) )""",
    re.VERBOSE | re.DOTALL,
)
_PATH = re.compile(r"(?:\[(?P<quoted>[^\[\]]+)\]|(?P<name>[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+))(?:[./].+)?")
_OWN_WORDS = frozenset({"this", "true", "false", "null", "undefined", "else"})
_SET_BY_SES = frozenset({"amazonSESUnsubscribeUrl"})
"""Filled in by SES itself (developer guide, Using subscription management)."""
_SAME_CONTEXT = frozenset({"if", "unless"})
_NEW_CONTEXT = frozenset({"each", "with"})
_SIMPLE = re.compile(r"\{\{\{?\s*([^\s{}]+)\s*\}?\}\}")


_Use = Callable[[list[str]], None]


class _NotUnderstoodError(Exception):
    """The template holds something that this reader does not know"""


def variables_of(*parts: str | None) -> frozenset[str] | None:
    """The names that the parts of a template (subject, HTML, text) take from the top of their data.

    Of `a.b` it is `a`. Names inside {{#each}}, {{#with}} and {{#name}} are relative to something else and left out.
    None when there is anything in it whose meaning is not known, such as a partial or a helper.
    """
    try:
        return frozenset().union(*(_names(part) for part in parts if part is not None)) - _SET_BY_SES
    except _NotUnderstoodError:
        return None


def fill(part: str, data: dict[str, object]) -> str:
    """A template of simple substitutions, which is all that an inline one may have, with its values.

    Raises:
        KeyError: the data has no such name; it is the error's argument.
    """

    def value(match: re.Match[str]) -> str:
        found: object = data
        for key in match[1].split("."):
            if not isinstance(found, dict) or key not in found:
                raise KeyError(match[1])
            found = found[key]
        return str(found)

    return _SIMPLE.sub(value, part)


def _names(part: str) -> set[str]:
    names: set[str] = set()
    blocks: list[tuple[str, bool]] = []  # each open block's word, and whether names in it are relative

    def use(words: list[str]) -> None:
        if len(words) != 1:
            raise _NotUnderstoodError
        name = _top_name(words[0])
        if name is not None and not any(relative for _, relative in blocks):
            names.add(name)

    for match in _MUSTACHE.finditer(part):
        if match["escaped"] is not None:
            continue
        if match["raw"] is not None or match["stray"] is not None:
            raise _NotUnderstoodError
        if match["plain"] is not None:
            use(match["plain"].split())
        elif match["said"] is not None:
            _read(match["said"].strip().strip("~").strip(), blocks, use)
    if blocks:
        raise _NotUnderstoodError
    return names


def _read(said: str, blocks: list[tuple[str, bool]], use: _Use) -> None:
    """One {{...}}: note the name it uses, and the block that it opens or closes."""
    words = said.lstrip("#/&^").split()
    match said[:1]:
        case "#" | "^" if words:
            opened, *arguments = words
            if "as" in arguments:  # block parameters: names of the template's own
                arguments = arguments[: arguments.index("as")]
            known = opened in _SAME_CONTEXT or opened in _NEW_CONTEXT
            use(arguments if known else words)
            blocks.append((opened, opened not in _SAME_CONTEXT))
        case "/":
            if not blocks or blocks.pop()[0] != "".join(words):
                raise _NotUnderstoodError
        case "^":
            pass
        case _ if words[:1] == ["else"]:
            if words[1:]:
                if words[1] not in _SAME_CONTEXT:
                    raise _NotUnderstoodError
                use(words[2:])
        case _:
            use(words)


def _top_name(path: str) -> str | None:
    """The name at the top of a path; None for what does not come from the data's top."""
    if path.startswith(("@", ".")) or path.partition(".")[0] in _OWN_WORDS or path.replace(".", "").isdecimal():
        return None
    found = _PATH.fullmatch(path)
    if found is None:
        if path[:1] in "\"'":
            return None
        raise _NotUnderstoodError
    return found["quoted"] or found["name"]
