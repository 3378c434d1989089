"""Unicode properties as in `\\p{L}`: general categories, and a few sets that follow from them.

The tables are those of this Python (`unicodedata.unidata_version`). Other engines may have newer
ones, so a code point without a category is in no property for sure, and in every one maybe.
Scripts and other properties are not in the standard library: refused by name.
Names are those of UAX 44, section 5.7.1, spelled as ECMA-262 does, table 67.
"""

from __future__ import annotations

import functools
from types import MappingProxyType

from sestina.lang.grammar_ir import ANY_CHAR, complement, normalise
from sestina.lang.regex.classes import CharSet, assignable, exactly, in_category

CATEGORIES = MappingProxyType(
    {
        "Cased_Letter": "LC",
        "Close_Punctuation": "Pe",
        "Connector_Punctuation": "Pc",
        "Control": "Cc",
        "Currency_Symbol": "Sc",
        "Dash_Punctuation": "Pd",
        "Decimal_Number": "Nd",
        "Enclosing_Mark": "Me",
        "Final_Punctuation": "Pf",
        "Format": "Cf",
        "Initial_Punctuation": "Pi",
        "Letter": "L",
        "Letter_Number": "Nl",
        "Line_Separator": "Zl",
        "Lowercase_Letter": "Ll",
        "Mark": "M",
        "Math_Symbol": "Sm",
        "Modifier_Letter": "Lm",
        "Modifier_Symbol": "Sk",
        "Nonspacing_Mark": "Mn",
        "Number": "N",
        "Open_Punctuation": "Ps",
        "Other": "C",
        "Other_Letter": "Lo",
        "Other_Number": "No",
        "Other_Punctuation": "Po",
        "Other_Symbol": "So",
        "Paragraph_Separator": "Zp",
        "Private_Use": "Co",
        "Punctuation": "P",
        "Separator": "Z",
        "Space_Separator": "Zs",
        "Spacing_Mark": "Mc",
        "Surrogate": "Cs",
        "Symbol": "S",
        "Titlecase_Letter": "Lt",
        "Unassigned": "Cn",
        "Uppercase_Letter": "Lu",
        "Combining_Mark": "M",
        "cntrl": "Cc",
        "digit": "Nd",
        "punct": "P",
    }
)
_SHORT = frozenset(CATEGORIES.values())


@functools.lru_cache(maxsize=256)
def of_property(name: str) -> CharSet | None:
    """The characters of a property written between the braces of `\\p{..}`; None if not known.

    >>> of_property("Zs") == of_property("gc=Space_Separator")
    True
    """
    key, equals, value = name.partition("=")
    if equals:
        return _category(value) if key in ("gc", "General_Category") else None
    if name == "Any":
        return exactly(ANY_CHAR)
    if name == "ASCII":
        return exactly(((0, 0x7F),))
    if name == "ASCII_Hex_Digit" or name == "AHex":
        return exactly(((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)))
    if name == "Assigned":
        return CharSet(complement(in_category("Cn")), complement(()))
    return _category(name)


def _category(name: str) -> CharSet | None:
    short = CATEGORIES.get(name, name)
    if short not in _SHORT:
        return None
    known = in_category("Lu", "Ll", "Lt") if short == "LC" else in_category(short)
    if short in ("C", "Cn"):  # what has no category now may leave this one
        return CharSet(complement(complement(known) + assignable()), known)
    return CharSet(known, normalise(known + assignable()))
