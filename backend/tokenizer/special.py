"""Which control tokens end a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")
"""Control tokens of these names end a text in any model that has them (llama.cpp's EOG list)."""

END_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|eot|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<end_of_utterance>",
)
"""Control tokens of these names end a turn where the chat template writes them."""


def end_ids(
    declared: Iterable[int], control_ids: Mapping[str, int], chat_template: str | None
) -> tuple[int, ...]:
    """The ids that end a text: the model's own declarations first, then well-known names.

    >>> end_ids([2], {"<|endoftext|>": 0, "<|im_end|>": 2, "<|end|>": 3}, "...<|im_end|>...")
    (2, 0)
    """
    found = dict.fromkeys(declared)
    template = chat_template or ""
    for name in END_OF_TEXT:
        if name in control_ids:
            found[control_ids[name]] = None
    for name in END_OF_TURN:
        # In the harmony format <|end|> ends a message, after which the same reply goes on.
        ends_message = name == "<|end|>" and "<|return|>" in control_ids
        if name in control_ids and name in template and not ends_message:
            found[control_ids[name]] = None
    return tuple(found)
