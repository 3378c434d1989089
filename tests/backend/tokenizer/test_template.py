"""The Jinja environment: what templates rely on, and what they may not do."""

from __future__ import annotations

import re

import pytest

from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.backend.tokenizer.template import chat_renderer, compile_template
from sestina.lang.errors import ChatTemplateError

MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def render(source, add_generation_prompt=False, **variables):
    return compile_template(source, variables)(MESSAGES, add_generation_prompt)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos }}{% if tools %}x{% endif %}", "<s>"),
        ("{{ {'é': [1, 'x']} | tojson }}", '{"é": [1, "x"]}'),
        ("{% for x in [1] %}\n  {% if x %}\n{{ x }}{% endif %}\n{% endfor %}", "1"),
        ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}", "x"),
        ("{% for m in messages %}{{ loop.length }}{{ loop.revindex0 }}{% endfor %}", "2120"),
        ("{% generation %}kept{% endgeneration %}", "kept"),
        ("{{ 'yes' if add_generation_prompt }}", "yes"),
        ("{{ '-' * 3 }}{{ 2 ** 3 }}{{ 2 * 3 }}", "---86"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
    ],
)
def test_templates_get_what_transformers_gives_them(source, text):
    assert render(source, add_generation_prompt=True, bos="<s>") == text


def test_the_date_is_there():
    assert re.fullmatch(r"\d{4}", render("{{ strftime_now('%Y') }}"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{{ messages[5].content + 'x' }}", "failed"),
        ("{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}", "steps"),
        ("{{ range(10000000) }}", "Range too big"),
        ("{{ 'x' * 10000000 }}", "repeats"),
        ("{{ 9 ** 999999 }}", "computes"),
        ("{% for x in range(2000) %}{{ 'x' * 1000 }}{% endfor %}", "characters"),
        ("{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}", "failed|steps"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "failed"),
        ("{% if %}", "not valid Jinja"),
        ("{% include 'other' %}", "failed"),
    ],
)
def test_foreign_code_is_kept_within_bounds(source, reason):
    with pytest.raises(ChatTemplateError, match=reason):
        render(source)


def test_the_tokenizers_template_is_rendered_with_its_special_tokens():
    class Named(ByteTokenizer):
        special_tokens = {"bos_token": "<b>"}  # noqa: RUF012
        chat_template = "{{ bos_token }}{{ eos_token }}{{ extra }}"

    assert chat_renderer(Named(), extra=1)([], False) == "<b><|eos|>1"


def test_a_model_without_a_template_has_no_renderer():
    class Bare(ByteTokenizer):
        chat_template = None

    with pytest.raises(ChatTemplateError, match="no chat template"):
        chat_renderer(Bare())
