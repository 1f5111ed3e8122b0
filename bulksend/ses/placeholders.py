"""Which names a template takes from its data. Pure.

Source: developer guide, Advanced email personalization (Handlebars in SES templates).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Path", "TemplateNames", "fill", "names_in", "not_simple"]

Path = tuple[str, ...]
"""A name, and the names below it: `("user", "name")` for {{user.name}}."""

_MUSTACHE = re.compile(
    r"""(?P<escaped>\\)?
    (?: \{\{~?!--.*?--~?\}\}              # a comment that may hold braces
      | \{\{~?!.*?\}\}                    # a comment
      | (?P<raw>\{\{\{\{[^{}]*\}{0,4})
      | \{\{\{\s*(?P<plain>[^{}]*?)\s*\}\}\}
      | \{\{(?P<said>[^{}]*)\}\}
      | (?P<stray>\{\{.{0,20}) )""",
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"""(?:\[[^\[\]]*\]|"[^"]*"|'[^']*'|\([^()]*\)|[^\s\[\]"'()])+""")
_STEP = re.compile(r"(?:\[(?P<quoted>[^\[\]]+)\]|(?P<name>[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+))(?:[./]|\Z)")
_INLINE_PARTIAL = re.compile(r"#\s*\*\s*inline\s+(?P<quote>[\"'])(?P<name>[^\"']+)(?P=quote)")
_PARTIAL = re.compile(r">\s*(?P<name>[^\s=()\"']+)")
_LITERALS = frozenset({"true", "false", "null", "undefined"})
_SET_BY_SES = frozenset({"amazonSESUnsubscribeUrl"})
"""Filled in by SES itself (developer guide, Using subscription management)."""
_CONDITIONS = frozenset({"if", "unless"})
_NEW_CONTEXT = frozenset({"each", "with"})
_OPENS = re.compile(r"\{\{")
_SIMPLE = re.compile(r"\{\{\{?\s*([^\s{}#/^!&>~\"'=()\[\]|@*]+)\s*\}?\}\}")
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class TemplateNames:
    """What the parts of a template (subject, HTML, text) take from the top of their data.

    Without a value for what is `needed` there is no mail. `optional` is what stands in conditions, or is used under
    one: a mail can do without. `unknown` are the parts of it whose meaning is not known, as they stand there.
    """

    needed: frozenset[Path] = frozenset()
    optional: frozenset[Path] = frozenset()
    unknown: tuple[str, ...] = ()


def names_in(*parts: str | None) -> TemplateNames:
    """The names in the parts of a stored template.

    Names inside {{#each}}, {{#with}} and {{#name}} are relative to something else and left out, unless they begin with
    @root or enough of ../.
    """
    read = [_Reader(part) for part in parts if part is not None]
    needed = frozenset(path for one in read for path in one.needed if path[0] not in _SET_BY_SES)
    optional = frozenset(path for one in read for path in one.optional if path[0] not in _SET_BY_SES)
    return TemplateNames(
        needed, optional - needed, tuple(dict.fromkeys(_shortened(words) for one in read for words in one.unknown))
    )


def not_simple(part: str) -> str | None:
    """The first thing in a part of an inline template that is no simple substitution, if there is any."""
    for opening in _OPENS.finditer(part):
        at = opening.start()
        if at and part[at - 1] == "{":
            continue  # the second and third of three
        if _SIMPLE.match(part, at) is None:
            end = part.find("}}", at)
            return _shortened(part[at:] if end < 0 else part[at : end + 2])
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


def _shortened(words: str) -> str:
    return words if len(words) <= _SHOWN_CHARS else words[: _SHOWN_CHARS - 1] + "…"


@dataclass(slots=True)
class _Block:
    """An open block: its word, and what it does to the names inside. `partial` is what it defines, if it does."""

    word: str
    is_relative: bool = False
    is_condition: bool = False
    partial: str | None = None


@dataclass(slots=True)
class _Use:
    """A name as it stands somewhere: how many contexts it climbs (None: to the top) and whether a mail needs it."""

    path: Path
    climbs: int | None
    is_needed: bool


class _Reader:
    """Reads one part of a template from front to back."""

    def __init__(self, part: str) -> None:
        self.needed: set[Path] = set()
        self.optional: set[Path] = set()
        self.unknown: list[str] = []
        self._blocks: list[_Block] = []
        self._partials: dict[str, list[_Use]] = {}
        for match in _MUSTACHE.finditer(part):
            if match["escaped"] is not None:
                continue
            if match["raw"] is not None or match["stray"] is not None:
                self.unknown.append(match[0])
            elif match["plain"] is not None:
                self._value(match["plain"], match[0])
            elif match["said"] is not None:
                self._read(match["said"].strip().strip("~").strip(), match[0])
        self.unknown += [f"{{{{#{block.word}}}}}" for block in self._blocks]

    def _read(self, said: str, whole: str) -> None:
        """One {{...}}: note the names it uses, and the block that it opens or closes."""
        words = [match[0] for match in _WORD.finditer(said.lstrip("#/&^"))]
        match said[:1]:
            case "#" if (inline := _INLINE_PARTIAL.fullmatch(said)) is not None:
                self._blocks.append(_Block("inline", partial=inline["name"]))
                self._partials.setdefault(inline["name"], [])
            case "#" | "^" if words:
                self._open(words, whole)
            case "/":
                self._close("".join(words), whole)
            case "^":
                pass
            case ">":
                self._include(said, whole)
            case _ if words[:1] == ["else"]:
                if words[1:2] and words[1] not in _CONDITIONS:
                    self.unknown.append(whole)
                elif words[1:]:
                    self._condition(words[2:], whole)
            case _:
                self._value(said.removeprefix("&").strip(), whole)

    def _open(self, words: list[str], whole: str) -> None:
        word, *arguments = words
        if word in _CONDITIONS:
            self._condition(arguments, whole)
        else:
            if "as" in arguments:  # block parameters: names of the template's own
                arguments = arguments[: arguments.index("as")]
            used = arguments if word in _NEW_CONTEXT else words
            if len(used) == 1:
                self._value(used[0], whole)
            else:
                self.unknown.append(whole)
        self._blocks.append(_Block(word, word not in _CONDITIONS, word in _CONDITIONS))

    def _close(self, word: str, whole: str) -> None:
        if any(block.word == word for block in self._blocks):
            while (block := self._blocks.pop()).word != word:
                self.unknown.append(f"{{{{#{block.word}}}}}")
        else:
            self.unknown.append(whole)

    def _include(self, said: str, whole: str) -> None:
        """{{> name}}: what the partial uses is used here."""
        found = _PARTIAL.fullmatch(said)
        uses = None if found is None else self._partials.get(found["name"])
        if uses is None:
            self.unknown.append(whole)
            return
        for use in list(uses):
            self._note(use)

    def _condition(self, words: list[str], whole: str) -> None:
        self._value(" ".join(words), whole, is_needed=False)

    def _value(self, text: str, whole: str, *, is_needed: bool = True) -> None:
        words = [match[0] for match in _WORD.finditer(text)]
        if len(words) != 1:
            self.unknown.append(whole)
            return
        try:
            use = _use(words[0], is_needed=is_needed)
        except ValueError:
            self.unknown.append(whole)
            return
        if use is not None:
            self._note(use)

    def _note(self, use: _Use) -> None:
        """A name that is used within the blocks that are open now."""
        inside = self._blocks
        for place in range(len(self._blocks) - 1, -1, -1):
            if self._blocks[place].partial is not None:
                inside = self._blocks[place + 1 :]
                break
        needed = use.is_needed and not any(block.is_condition for block in inside)
        contexts = sum(block.is_relative for block in inside)
        climbs = use.climbs
        if inside is not self._blocks:  # in a partial: it counts where that is included
            partial = self._blocks[len(self._blocks) - len(inside) - 1].partial
            assert partial is not None
            if climbs is None or climbs >= contexts:
                self._partials[partial].append(_Use(use.path, None if climbs is None else climbs - contexts, needed))
        elif climbs is None or climbs >= contexts:
            (self.needed if needed else self.optional).add(use.path)


def _use(word: str, *, is_needed: bool) -> _Use | None:
    """A path as it is written; None for what does not come from the data: literals, the context itself, @index.

    Raises:
        ValueError: it is no path.
    """
    if word[:1] in "\"'" or word in _LITERALS or word.lstrip("-").replace(".", "").isdecimal():
        return None
    climbs: int | None = 0
    if word.startswith("@"):
        if not word.startswith(("@root.", "@root/")):
            return None
        climbs, word = None, word[len("@root.") :]
    else:
        while word.startswith("../"):
            assert climbs is not None
            climbs, word = climbs + 1, word.removeprefix("../")
        word = re.sub(r"\A(?:\./|this[./])", "", word)
    if word in {"", ".", "..", "this"}:
        return None
    path = tuple(_steps(word))
    return _Use(path, climbs, is_needed)


def _steps(word: str) -> Iterator[str]:
    at = 0
    while at < len(word):
        found = _STEP.match(word, at)
        if found is None:
            raise ValueError(word)
        yield found["quoted"] or found["name"]
        at = found.end()
