"""Chat templates, one turn at a time: the markup that opens and closes a turn.

A chat template renders a whole conversation; a program grows one. Rendering again after each turn
would re-tokenise what the model wrote and lose its KV cache, so a turn's markup is found by
rendering placeholders in place of every content and reading what the template puts around them.

Only markup ever comes from the template. Contents are appended as the program wrote them: a
template that trims or filters contents has no say in that, and markup and content are tokenised
separately, so no token spans a border between the two. (Rendering everything and tokenising the
result may merge, say, the newline that ends a role header with one that starts the content.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sestina.lang.errors import ChatTemplateError


class Render(Protocol):
    """Renders a conversation; messages have "role" and "content". ChatTemplateError if it cannot.

    With `add_generation_prompt` the text ends where the assistant is to begin.
    """

    def __call__(self, messages: list[dict[str, Any]], add_generation_prompt: bool) -> str: ...


class TurnMarkup(NamedTuple):
    """The text before a turn's content and the text after it; either may be empty."""

    prefix: str
    suffix: str


def turn_markup(render: Render, history: Sequence[Mapping[str, Any]], role: str) -> TurnMarkup:
    """What opens a turn of `role` after `history`, and what closes it.

    Contents of `history` do not matter, only roles and any other keys. The first turn's prefix
    holds whatever the template starts with (a BOS token, a default system prompt). The prefix of
    an assistant turn is the template's generation prompt where it has one. Markup that shows only
    once the next turn is there (a system text folded into the first user turn) is in that turn's
    prefix. What a template puts at the very end of a conversation is in no turn.

    Costs a handful of renders; `ChatTurns` remembers. Raises ChatTemplateError, naming role and
    turn, when the template refuses the role there, drops or repeats its content, or changes what
    earlier turns look like: then no text appended now could agree with it.

    >>> def chatml(messages, add_generation_prompt):
    ...     text = "".join(f"<{m['role']}>{m['content']}</>" for m in messages)
    ...     return text + "<assistant>" * add_generation_prompt
    >>> turn_markup(chatml, [{"role": "user"}], "assistant")
    TurnMarkup(prefix='<assistant>', suffix='</>')
    """
    messages = _placeholders(history, role)
    opened, suffix = _opened(render, messages), _suffix(render, messages)
    prefix = _addition(render, messages, opened) if history else opened
    for i in range(len(messages)):
        if _placeholder(i) in prefix or _placeholder(i) in suffix:
            raise _refusal(messages, f"it moves or repeats the content of turn {i}")
    return TurnMarkup(prefix, suffix)


class ChatTurns:
    """`turn_markup` of one template, each distinct conversation shape worked out once.

    Every call renders once (a template may depend on the date), so it costs tens of microseconds.
    """

    MAX_ENTRIES = 4096

    def __init__(self, render: Render) -> None:
        self._render = render
        self._known: dict[tuple[str, ...], TurnMarkup] = {}

    def markup(self, history: Sequence[Mapping[str, Any]], role: str) -> TurnMarkup:
        """As `turn_markup`."""
        messages = _placeholders(history, role)
        text = _try_render(self._render, messages)
        if text is None:
            return turn_markup(self._render, history, role)
        key = (*(str(m.get("role")) for m in messages), text)
        found = self._known.get(key)
        if found is None:
            found = turn_markup(self._render, history, role)
            if len(self._known) >= self.MAX_ENTRIES:
                self._known.clear()
            self._known[key] = found
        return found


# ---- placeholders ------------------------------------------------------------------------------

Messages = list[dict[str, Any]]


def _placeholder(turn: int) -> str:
    # Letters and digits only: no template trims, escapes or parses them.
    return f"ContentOfTurn{turn}Here"


def _placeholders(history: Sequence[Mapping[str, Any]], role: str) -> Messages:
    turns = [*history, {"role": role}]
    return [{**turn, "content": _placeholder(i)} for i, turn in enumerate(turns)]


def _refusal(messages: Messages, why: str) -> ChatTemplateError:
    turn = len(messages) - 1
    return ChatTemplateError(
        f"the model's chat template cannot open a {messages[-1]['role']!r} turn as turn {turn}"
        f" (after {[m.get('role') for m in messages[:-1]]}): {why}"
    )


def _try_render(render: Render, messages: Messages) -> str | None:
    try:
        return render(messages, False)
    except ChatTemplateError:
        return None


def _around_last(text: str, messages: Messages) -> tuple[str, str] | None:
    """The text before and after the last content; None unless it is there exactly once."""
    mark = _placeholder(len(messages) - 1)
    if text.count(mark) != 1:
        return None
    before, _, after = text.partition(mark)
    return before, after


def _followed(messages: Messages) -> Messages:
    """The conversation with the most likely next turn."""
    role = "assistant" if messages[-1]["role"] == "user" else "user"
    return [*messages, {"role": role, "content": _placeholder(len(messages))}]


# ---- what was and is to be written -------------------------------------------------------------


def _before(render: Render, messages: Messages) -> str:
    """The template's text up to the last content."""
    cause: ChatTemplateError | None = None
    for candidate in (messages, _followed(messages)):
        try:
            text = render(candidate, False)
        except ChatTemplateError as error:
            cause = cause or error
            continue
        parts = _around_last(text, messages)
        if parts is not None:
            return parts[0]
    why = str(cause) if cause else "it does not show the content of that turn exactly once"
    raise _refusal(messages, why) from cause


def _opened(render: Render, messages: Messages) -> str:
    """Our text up to the last content: the template's, an assistant's by the generation prompt."""
    before = _before(render, messages)
    history = messages[:-1]
    if messages[-1]["role"] != "assistant" or not history:
        return before
    try:
        plain, prompt = render(history, False), render(history, True)
    except ChatTemplateError as error:
        raise _refusal(messages, str(error)) from error
    if prompt != plain:
        if prompt.startswith(before) or before.startswith(prompt):
            return prompt
        raise _refusal(messages, "its generation prompt does not agree with that turn's markup")
    # No generation prompt: the model begins right after the last turn. A template that then
    # writes a mere space before the content (Llama 2) means the space that the model writes.
    kept = _closed(render, history)
    gap = before.partition(_placeholder(len(history) - 1))[2]
    gap = gap.removeprefix(_suffix(render, history))
    return kept if not gap.strip() else before


def _suffix(render: Render, messages: Messages) -> str:
    """The text that closes the last turn whatever follows it."""
    text = _try_render(render, messages)
    parts = _around_last(text, messages) if text is not None else None
    if parts is None:
        return ""
    after = parts[1]
    text = _try_render(render, _followed(messages))
    parts = _around_last(text, messages) if text is not None else None
    if parts is None or parts[1].startswith(after):
        return after
    # The end of the conversation has text of its own (Phi-3 puts EOS there): only what the end
    # and a next turn share closes this one.
    return _common_markup(after, parts[1])


def _closed(render: Render, messages: Messages) -> str:
    """Our text up to and with the end of the last turn."""
    return _opened(render, messages) + _placeholder(len(messages) - 1) + _suffix(render, messages)


def _addition(render: Render, messages: Messages, opened: str) -> str:
    """What `opened` adds to the text of the history, which must be unchanged in it."""
    history = messages[:-1]
    closed = _closed(render, history)
    if opened.startswith(closed):
        return opened[len(closed) :]
    mark = _placeholder(len(history) - 1)
    old_before, _, old_after = closed.partition(mark)
    new_before, _, new_after = opened.partition(mark)
    # White space before an assistant's content is the model's (see `_opened`), and what a
    # generation prompt adds to the role's header (an empty thinking part, Qwen 3) stays where it
    # was read, even if the template forgets it in older turns.
    same = old_before.startswith(new_before.rstrip())
    if not (same and history[-1]["role"] == "assistant" and new_after.startswith(old_after)):
        raise _refusal(messages, "it changes the text of earlier turns when that one follows")
    return new_after[len(old_after) :]


def _common_markup(a: str, b: str) -> str:
    """The longest common start of two texts that does not cut a tag such as <|end|> in two.

    >>> _common_markup("<|end|>\\n<|user|>", "<|end|>\\n<|endoftext|>")
    '<|end|>\\n'
    """
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return re.sub(r"[<\[][^<>\[\]\s]*\Z", "", a[:length])
