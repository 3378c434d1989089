"""What the user means: the language, its constraints and the seam to a runtime.

Nothing below this package imports torch, numpy or the backend; it runs on the standard library plus
interegular and lark, and owns the Protocols (`sestina.lang.session`) that a runtime implements.
"""
