"""Sestina: structured generation for language models. You fix the form, the model finds the words.

    from sestina import Engine, assistant, function, gen, user

    @function
    def greet(s, name):
        s += user(f"Say hello to {name}.") + assistant(gen("hello", max_tokens=20))

    with Engine("smollm2-135m-instruct") as engine:
        print(greet.run("Ada", backend=engine)["hello"])

Names are loaded when first used, so that importing this package costs nothing and imports no torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sestina.backend.async_engine import AsyncEngine as AsyncEngine
    from sestina.backend.engine import Engine as Engine
    from sestina.lang.api import assistant as assistant
    from sestina.lang.api import assistant_begin as assistant_begin
    from sestina.lang.api import assistant_end as assistant_end
    from sestina.lang.api import function as function
    from sestina.lang.api import gen as gen
    from sestina.lang.api import gen_int as gen_int
    from sestina.lang.api import gen_string as gen_string
    from sestina.lang.api import role as role
    from sestina.lang.api import role_begin as role_begin
    from sestina.lang.api import role_end as role_end
    from sestina.lang.api import select as select
    from sestina.lang.api import system as system
    from sestina.lang.api import system_begin as system_begin
    from sestina.lang.api import system_end as system_end
    from sestina.lang.api import user as user
    from sestina.lang.api import user_begin as user_begin
    from sestina.lang.api import user_end as user_end
    from sestina.lang.api import var as var
    from sestina.lang.choices import greedy_token_selection as greedy_token_selection
    from sestina.lang.choices import token_length_normalized as token_length_normalized
    from sestina.lang.choices import (
        unconditional_likelihood_normalized as unconditional_likelihood_normalized,
    )
    from sestina.lang.clients.mock import MockBackend as MockBackend
    from sestina.lang.constraint import Choices as Choices
    from sestina.lang.constraint import Constraint as Constraint
    from sestina.lang.constraint import Grammar as Grammar
    from sestina.lang.constraint import JsonSchema as JsonSchema
    from sestina.lang.constraint import Regex as Regex
    from sestina.lang.constraint import choices as choices
    from sestina.lang.constraint import grammar as grammar
    from sestina.lang.constraint import json_schema as json_schema
    from sestina.lang.constraint import regex as regex
    from sestina.lang.errors import Cancelled as Cancelled
    from sestina.lang.errors import CapacityError as CapacityError
    from sestina.lang.errors import ChatTemplateError as ChatTemplateError
    from sestina.lang.errors import ConstraintError as ConstraintError
    from sestina.lang.errors import ConstraintLimitExceeded as ConstraintLimitExceeded
    from sestina.lang.errors import EngineClosed as EngineClosed
    from sestina.lang.errors import InternalError as InternalError
    from sestina.lang.errors import InvalidConstraint as InvalidConstraint
    from sestina.lang.errors import InvalidParams as InvalidParams
    from sestina.lang.errors import ModelError as ModelError
    from sestina.lang.errors import ProgramError as ProgramError
    from sestina.lang.errors import SestinaError as SestinaError
    from sestina.lang.errors import UnsatisfiableConstraint as UnsatisfiableConstraint
    from sestina.lang.errors import UnsupportedConstraint as UnsupportedConstraint
    from sestina.lang.errors import UnsupportedNode as UnsupportedNode
    from sestina.lang.fork import ForkGroup as ForkGroup
    from sestina.lang.params import SamplingParams as SamplingParams
    from sestina.lang.program import Program as Program
    from sestina.lang.running import flush_cache as flush_cache
    from sestina.lang.running import get_default_backend as get_default_backend
    from sestina.lang.running import set_default_backend as set_default_backend
    from sestina.lang.state import State as State
    from sestina.lang.structural import free_text as free_text
    from sestina.lang.structural import special as special
    from sestina.lang.structural import tag as tag
    from sestina.lang.structural import thinking as thinking
    from sestina.lang.structural import triggered as triggered
    from sestina.lang.structural_tag import structural_tag as structural_tag
    from sestina.lang.tools import CallLayout as CallLayout
    from sestina.lang.tools import tool_calls as tool_calls

    __version__: str

__all__ = [
    "AsyncEngine",
    "CallLayout",
    "Cancelled",
    "CapacityError",
    "ChatTemplateError",
    "Choices",
    "Constraint",
    "ConstraintError",
    "ConstraintLimitExceeded",
    "Engine",
    "EngineClosed",
    "ForkGroup",
    "Grammar",
    "InternalError",
    "InvalidConstraint",
    "InvalidParams",
    "JsonSchema",
    "MockBackend",
    "ModelError",
    "Program",
    "ProgramError",
    "Regex",
    "SamplingParams",
    "SestinaError",
    "State",
    "UnsatisfiableConstraint",
    "UnsupportedConstraint",
    "UnsupportedNode",
    "__version__",
    "assistant",
    "assistant_begin",
    "assistant_end",
    "choices",
    "flush_cache",
    "free_text",
    "function",
    "gen",
    "gen_int",
    "gen_string",
    "get_default_backend",
    "grammar",
    "greedy_token_selection",
    "json_schema",
    "regex",
    "role",
    "role_begin",
    "role_end",
    "select",
    "set_default_backend",
    "special",
    "structural_tag",
    "system",
    "system_begin",
    "system_end",
    "tag",
    "thinking",
    "token_length_normalized",
    "tool_calls",
    "triggered",
    "unconditional_likelihood_normalized",
    "user",
    "user_begin",
    "user_end",
    "var",
]

_HOME: Mapping[str, str] = MappingProxyType(
    {
        name: module
        for module, names in (
            ("sestina.backend.async_engine", "AsyncEngine"),
            ("sestina.backend.engine", "Engine"),
            (
                "sestina.lang.api",
                "assistant assistant_begin assistant_end function gen gen_int gen_string role "
                "role_begin role_end select system system_begin system_end user user_begin "
                "user_end var",
            ),
            (
                "sestina.lang.choices",
                "greedy_token_selection token_length_normalized "
                "unconditional_likelihood_normalized",
            ),
            ("sestina.lang.clients.mock", "MockBackend"),
            (
                "sestina.lang.constraint",
                "Choices Constraint Grammar JsonSchema Regex choices grammar json_schema regex",
            ),
            (
                "sestina.lang.errors",
                "Cancelled CapacityError ChatTemplateError ConstraintError "
                "ConstraintLimitExceeded EngineClosed InternalError InvalidConstraint "
                "InvalidParams ModelError ProgramError SestinaError UnsatisfiableConstraint "
                "UnsupportedConstraint UnsupportedNode",
            ),
            ("sestina.lang.fork", "ForkGroup"),
            ("sestina.lang.params", "SamplingParams"),
            ("sestina.lang.program", "Program"),
            ("sestina.lang.running", "flush_cache get_default_backend set_default_backend"),
            ("sestina.lang.state", "State"),
            ("sestina.lang.structural", "free_text special tag thinking triggered"),
            ("sestina.lang.structural_tag", "structural_tag"),
            ("sestina.lang.tools", "CallLayout tool_calls"),
        )
        for name in names.split()
    }
)

# Names that programs written for SGLang import, and what to do instead.
_ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "Anthropic": "only models that run in this process, with Engine, are supported yet",
        "LiteLLM": "only models that run in this process, with Engine, are supported yet",
        "OpenAI": "only models that run in this process, with Engine, are supported yet",
        "Runtime": "use Engine: it runs the model in this process, without a server",
        "RuntimeEndpoint": "there is no server to connect to yet; use Engine in this process",
        "VertexAI": "only models that run in this process, with Engine, are supported yet",
        "get_server_info": "use engine.stats()",
        "image": "images are not supported yet",
        "launch_server": "there is no server yet; use Engine in this process",
        "separate_reasoning": "splitting off the reasoning is not supported yet",
        "video": "videos are not supported yet",
    }
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sestina")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ABSENT:
        message = f"sestina has no {name!r}: {_ABSENT[name]}"
        # `from sestina import x` replaces the text of an AttributeError by its own.
        if sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise ImportError(message, name=name, path=__file__)
        raise AttributeError(message)
    raise AttributeError(f"module 'sestina' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
