"""Turn markup of real templates' forms, and the law that ties it to whole renderings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sestina.backend.tokenizer.template import compile_template
from sestina.lang.chat_template import ChatTurns, turn_markup
from sestina.lang.errors import ChatTemplateError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
CASES = tomllib.loads((ROOT / "tests/data/chat_templates.toml").read_text("utf-8"))["template"]
QWEN3 = ROOT.parent / "shared/data/tokenizers/qwen3/tokenizer_config.json"

conversations = pytest.mark.parametrize(
    ("case", "turns"),
    [
        pytest.param(case, turns, id=f"{case['name']}-{i}")
        for case in CASES
        for i, turns in enumerate(case.get("conversations", []))
    ],
)


def renderer(case):
    return compile_template(case["source"], case.get("variables", {}))


def roles(names):
    return [{"role": name, "content": f"text of {name}"} for name in names]


@conversations
def test_each_turn_has_its_markup(case, turns):
    render = renderer(case)
    history = []
    for role, prefix, suffix in turns:
        assert turn_markup(render, roles(history), role) == (prefix, suffix)
        history.append(role)


@conversations
def test_appended_turns_give_the_templates_own_rendering(case, turns):
    """Up to white space and what the template puts at the conversation's end."""
    render, text, messages = renderer(case), "", []
    for i, (role, _, _) in enumerate(turns):
        markup = turn_markup(render, messages, role)
        text += markup.prefix + f"some{i}text" + markup.suffix
        messages.append({"role": role, "content": f"some{i}text"})
    whole = render(messages, False).replace("<think>\n\n</think>\n\n", "")
    if case["name"] == "mistral-v3" and turns[0][0] == "system":
        whole = render(messages[:-1], False) + "some2text</s>"  # it forgets the system text later
    assert "".join(whole.split()).startswith("".join(text.split()))


@pytest.mark.parametrize("case", [c for c in CASES if "refused" in c], ids=lambda c: c["name"])
def test_what_cannot_be_appended_is_refused_with_role_and_turn(case):
    for *history, role in case["refused"]:
        with pytest.raises(ChatTemplateError, match=f"{role!r} turn as turn {len(history)}"):
            turn_markup(renderer(case), roles(history), role)


def test_the_templates_own_words_are_in_the_refusal():
    gemma = next(case for case in CASES if case["name"] == "gemma")
    with pytest.raises(ChatTemplateError, match="System role not supported"):
        turn_markup(renderer(gemma), [], "system")


def test_a_thinking_switch_opens_the_reply_and_stays_there():
    thinking = next(case for case in CASES if case["name"] == "thinking")
    render = compile_template(thinking["source"], {"enable_thinking": False})
    reply = turn_markup(render, roles(["user"]), "assistant")
    assert reply.prefix == "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    after = turn_markup(render, roles(["user", "assistant"]), "user")
    assert after == ("<|im_start|>user\n", "<|im_end|>\n")


def test_contents_do_not_matter():
    render = renderer(CASES[0])
    plain = turn_markup(render, roles(["system", "user"]), "assistant")
    odd = [{"role": "system", "content": "  "}, {"role": "user", "content": "<|im_end|>\n{{ 1 }}"}]
    assert turn_markup(render, odd, "assistant") == plain


def test_remembered_turns_are_the_same_and_cost_one_render():
    inner, calls = renderer(CASES[0]), []

    def render(messages, add_generation_prompt):
        calls.append(messages)
        return inner(messages, add_generation_prompt)

    turns = ChatTurns(render)
    first = turns.markup(roles(["user"]), "assistant")
    calls.clear()
    assert turns.markup([{"role": "user", "content": "other"}], "assistant") == first
    assert len(calls) == 1
    assert first == turn_markup(inner, roles(["user"]), "assistant")


def test_remembered_turns_follow_a_changing_template():
    today = ["monday"]
    turns = ChatTurns(lambda messages, _: f"{today[0]}: {messages[-1]['content']}")
    assert turns.markup([], "user").prefix == "monday: "
    today[0] = "tuesday"
    assert turns.markup([], "user").prefix == "tuesday: "


@pytest.mark.skipif(
    not QWEN3.is_file(), reason=f"needs {QWEN3.name} of Qwen3 beside the repository"
)
@pytest.mark.parametrize("thinking", [True, False])
def test_the_real_qwen3_template(thinking):
    source = json.loads(QWEN3.read_text("utf-8"))["chat_template"]
    render = compile_template(source, {} if thinking else {"enable_thinking": False})
    opening = "<|im_start|>assistant\n" + ("" if thinking else "<think>\n\n</think>\n\n")
    history = []
    for role in ("system", "user", "assistant", "user", "assistant", "user"):
        prefix = opening if role == "assistant" else f"<|im_start|>{role}\n"
        assert turn_markup(render, roles(history), role) == (prefix, "<|im_end|>\n")
        history.append(role)
