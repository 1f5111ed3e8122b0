"""The file that `bulksend template push` reads and `pull` writes: one email template.

Source: API reference, EmailTemplateContent; developer guide, Service quotas (500 KB a stored template).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from bulksend.config.fields import TemplateName, file_beside
from bulksend.config.source import Fault, Table, check, config_error, read_toml

__all__ = ["TemplateFile", "load_template", "template_toml"]

MAX_STORED_BYTES = 500 * 1024

_FileBeside = Annotated[Path, BeforeValidator(file_beside)]


class TemplateFile(Table):
    """A template file. Made by load_template, which puts what html_file and text_file hold into html and text."""

    name: TemplateName
    subject: Annotated[str, Field(min_length=1)]
    html: str | None = None
    text: str | None = None
    html_file: _FileBeside | None = None
    """Instead of html: a file with it, relative to this file's folder."""
    text_file: _FileBeside | None = None
    """Instead of text: a file with it, relative to this file's folder."""


def load_template(path: Path) -> TemplateFile:
    """Read a template file.

    Raises:
        ConfigError: all faults in one, such as unknown keys, neither html nor text, or more than 500 KB.
    """
    file, faults = check(TemplateFile, read_toml(path), lambda key: (str(path), key), {"folder": path.parent})
    if file is not None:
        parts: dict[str, str | None] = {}
        for part in ("html", "text"):
            written, beside = getattr(file, part), getattr(file, f"{part}_file")
            if written is not None and beside is not None:
                faults.append(Fault(str(path), part, f"is given twice: there is {part}_file as well"))
            try:
                parts[part] = written if beside is None else _read_text(beside)
            except (OSError, UnicodeDecodeError) as error:
                faults.append(Fault(str(path), f"{part}_file", f"cannot be read: {beside}: {_reason(error)}"))
        file = file.model_copy(update=parts)
        faults += _size_faults(file, path)
    if file is None or faults:
        raise config_error(faults, hint="Correct the keys named above in the template file.")
    return file


def template_toml(name: str, subject: str, html: str | None, text: str | None) -> str:
    """A template as a file that load_template reads back the same."""
    lines = [f"name = {_quoted(name)}", f"subject = {_quoted(subject)}"]
    lines += [f"{part} = {_block(value)}" for part, value in (("html", html), ("text", text)) if value is not None]
    return "\n".join(lines) + "\n"


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_STORED_BYTES + 1).decode("utf-8-sig", "strict")


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _size_faults(file: TemplateFile, path: Path) -> list[Fault]:
    if (file.html, file.html_file, file.text, file.text_file) == (None, None, None, None):
        return [Fault(str(path), "", "must have html, text or both")]
    size_bytes = sum(len(part.encode()) for part in (file.subject, file.html or "", file.text or ""))
    if size_bytes > MAX_STORED_BYTES:
        return [Fault(str(path), "", f"must have at most {MAX_STORED_BYTES:,} bytes in all, not {size_bytes:,}")]
    return []


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _block(text: str) -> str:
    """Over several lines where it has several; a carriage return would be read as a part of the line's end."""
    return '"""\n' + _escaped(text, keep="\n") + '"""' if "\n" in text else _quoted(text)


def _escaped(text: str, keep: str = "") -> str:
    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else f"\\u{ord(match[0]):04x}"

    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", escape, text.replace("\\", "\\\\").replace('"', '\\"'))
