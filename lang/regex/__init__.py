"""Regular expressions: from source to syntax tree (`parser`) to a language (`lowering`).

`sestina.lang.regex_syntax.lower` is the way in.
"""
