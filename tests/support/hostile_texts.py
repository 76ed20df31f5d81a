"""Texts that would be markup if a page took them for it."""

HOSTILE = (
    "a | b",
    "a \\| b",
    "ends with a backslash \\",
    "two\nlines\r\n\r\n| --- |\n# heading",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- never closed",
    "![picture](https://evil.example/track.png)",
    "[click](javascript:alert(1))",
    "[ref]: https://evil.example",
    "<https://evil.example>",
    "&lt;b&gt; &#x3c;b&#x3e;",
    "`code` ``` more",
    "**bold** _it_ ~~gone~~ $x$ :smile:",
    "# heading",
    "- list",
    "1. list",
    "12) list",
    "> quote",
    "===",
    "---",
    "    four blanks",
    "```mermaid",
)


def shown(text: str) -> str:
    """What a reader should see of a text: blanks for white space, no address that a renderer takes for one."""
    return " ".join(text.split())
