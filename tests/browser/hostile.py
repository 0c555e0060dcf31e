"""Texts that would be more than text wherever somebody forgot that they may be anything."""

# `pwned` is watched by the tests; the address must never be asked for.
OUTSIDE = "https://outside.invalid/"

MARKUP = [
    "<script>pwned=1</script>",
    "</script><script>pwned=1</script>",
    "<img src=x onerror=pwned=1>",
    f"<img src={OUTSIDE}leak.png>",
    "<svg onload=pwned=1>",
    "<svg><script>pwned=1</script></svg>",
    "<svg><animate onbegin=pwned=1 attributeName=x dur=1s>",
    "<math><mtext></p><img src=x onerror=pwned=1></mtext></math>",
    f"<iframe srcdoc='<script>parent.pwned=1</script>' src={OUTSIDE}></iframe>",
    "<details open ontoggle=pwned=1>",
    "<input autofocus onfocus=pwned=1>",
    "<body onload=pwned=1><marquee onstart=pwned=1>",
    f"<link rel=stylesheet href={OUTSIDE}a.css><base href={OUTSIDE}>",
    f"<meta http-equiv=refresh content='0;url={OUTSIDE}'>",
    f"<form action={OUTSIDE}><button formaction=javascript:pwned=1>",
    "<object data=javascript:pwned=1><embed src=javascript:pwned=1>",
    "<a href=javascript:pwned=1>click</a>",
    "<template><img src=x onerror=pwned=1></template>",
    "<noscript><p title='</noscript><img src=x onerror=pwned=1>'>",
    "<!--><img src=x onerror=pwned=1>-->",
    "<![CDATA[><img src=x onerror=pwned=1>]]>",
    "<xmp><title></textarea></style></select></dialog><script>pwned=1</script>",
]
BREAK_OUT = [
    '" onmouseover="pwned=1" x="',
    "' autofocus onfocus='pwned=1",
    '"><script>pwned=1</script>',
    "`-pwned=1-`",
    "';pwned=1;//",
    "\\u003cscript\\u003epwned=1\\u003c/script\\u003e \\x \\u",
    '"}]}</script><script>pwned=1</script>',
    "]]>--></style><script>pwned=1</script>",
]
ADDRESSES = [
    "javascript:pwned=1",
    "data:text/html,<script>pwned=1</script>",
    f"{OUTSIDE}?q=1",
    "//outside.invalid/x",
    f"![x]({OUTSIDE}markdown.png)",
    "[x](javascript:pwned=1)",
    f"<{OUTSIDE}>",
]
STYLES = [
    "</style><script>pwned=1</script>",
    f"x;background:url({OUTSIDE}css.png)",
    "expression(pwned=1)",
    f"@import '{OUTSIDE}a.css';*{{display:none}}",
    "100%;position:fixed;inset:0;z-index:9999",
]
TEMPLATES = [
    "${pwned=1}",
    "${Object.assign(window,{pwned:1})}",
    "{{constructor.constructor('pwned=1')()}}",
    "{{{pwned=1}}}",
    "{% raw %}{{ self.__init__ }}{% endraw %}",
    "<%= pwned=1 %> #{pwned=1} $(pwned=1)",
    "{token} {rank} {count} {model}",
    "$& $1 $` $' $$",
]
ENTITIES = ["&lt;img src=x onerror=pwned=1&gt;", "&#60;script&#62;", "&amp;", "&nbsp;&#x202e;"]
NAMES = ["__proto__", "constructor", "toString", "hasOwnProperty", "__proto__[pwned]", "null"]
FORMULAS = [
    "=cmd|'/C calc'!A0",
    "+1+cmd|x",
    "-2+3",
    "@SUM(A1)",
    '=HYPERLINK("https://outside.invalid")',
]
UNSEEN = [
    "a",
    " a",
    "a ",
    "a\u200b",
    "\u200ba",
    "a\u200d",
    "a\u2060",
    "a\ufeff",
    "a\u00ad",
    "a\ufe0f",
    "a\u034f",
    "a\u3164",
    "a\u2800",
    "a\u00a0",
    "a\u3000",
    "a\n",
    "a\t",
    "a\x00",
    "\x1b[31ma\x07",
    "a\x85\x9b",
    "\u202eabc",
    "\u202dabc\u202c",
    "\u2066abc\u2069",
    "\u200fabc\u200e",
    "\u05d0\u05d1\u05d2",
    "\u0634\u0644\u0648\u0645 12",
    "\u05d0\u202e\u05d1",
    "\U000e0061a\U000e007f",
    "\u2028a\u2029",
    "\ue000\uffff\U0010ffff",
    "e\u0301",
    "\u00e9",
    "\u0301",
    "Z" + 30 * "\u0335\u0489",
    "👩\u200d👧",
    "می\u200cخواهم",
    "⟨U+200B⟩",
    "␣a",
    "◌\u0301",
]
LONG = ["W" * 400, "長" * 150, "🙂" * 60]
BROKEN = [b"\xed\xa0\x80", b"\xff\xfe<", b"\xe3\x81", b"\xc0\xaf", b"\xf4\x90\x80\x80"]

TEXTS = [
    *MARKUP,
    *BREAK_OUT,
    *ADDRESSES,
    *STYLES,
    *TEMPLATES,
    *ENTITIES,
    *NAMES,
    *FORMULAS,
    *UNSEEN,
    *LONG,
]
TOKENS = [text.encode() for text in TEXTS] + BROKEN
