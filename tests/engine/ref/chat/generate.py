#!/usr/bin/env python3
"""Writes cases.ndjson: prompts as transformers' apply_chat_template makes them (its own jinja environment).

  python3 generate.py                  writes cases.ndjson beside this file
  python3 generate.py --check PROGRAM CONFIG...  compares PROGRAM (engine_test_chat) on the templates of real
                                       tokenizer_config.json files, nothing written"""
import json
import os
import subprocess
import sys
import tempfile

from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
U, A, S = "user", "assistant", "system"
TALKS = [
    [(U, "Bonjour")],
    [(S, "Tu réponds en français."), (U, "  Le métro est arrêté ?\n"), (A, " Oui.\n\n"), (U, "Où ?")],
    [(U, "a"), (A, "b"), (U, "c"), (A, "d")],
    [(U, "quoi ?"), (A, "<think>\nhmm\n</think>\n\nvoilà"), (U, "et ?"), (A, "<think>\nx\n</think>\n\ny")],
    [(S, ""), (U, "👩‍🚒 {{ not a tag }} {% nor this %} \\n \"q\" 'q' <|im_end|>")],
    [(U, "a"), (U, "b")],
    [(A, "a")],
    [("tool", "r"), (U, "b")],
]
# One construct a line; all rendered with the messages below.
SNIPPETS = r"""
{{ messages|length }} {{ messages[-1].content }} {{ messages[0]['role'] }}
{{ 'é' * 1 if false }}|{{ 1 + 2 * 3 - 4 // 2 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 1.5 + 1 }} {{ 2 ~ 'x' ~ none ~ true }}
{{ 'abc'[1] }}{{ 'abcdef'[1:4] }}{{ 'abcdef'[::-1] }}{{ 'abcdef'[-2:] }}{{ 'abcdef'[:-2] }}{{ 'abcdef'[10:] }}{{ 'abcdef'[4:1:-1] }}{{ 'déjà'[-3:] }}
{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for x in [] %}a{% else %}empty{% endfor %}{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}
{% for x in range(5) if x is odd %}{{ x }}{% endfor %}{% for x in range(1, 9, 3) %}{{ x }}{% endfor %}{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(a=1, b='z') %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}
{% set block %}  in {{ 1 + 1 }}  {% endset %}[{{ block }}][{{ block|trim }}]
{{ undefined_name }}{{ undefined_name is defined }}{{ undefined_name is not defined }}{{ undefined_name|default('d') }}{{ ''|default('e', true) }}{{ ''|default('e', boolean=true) }}{{ none is none }}
{{ '  a b  '|trim }}|{{ '  a b  '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xxa'.lstrip('x') }}|{{ 'axx'.rstrip('x') }}|{{ 'éaé'.strip('é') }}|{{ 'xya'.lstrip('yx') }}
{{ 'a,b,,c'.split(',') | join('+') }} {{ ' a  b '.split() | join('+') }} {{ 'abc'.split('b')[-1] }} {{ ''.split(',')|length }} {{ ''.split()|length }}
{{ 'Été'.upper() }} {{ 'ÉTÉ'|lower }} {{ 'hELLO wORLD'|capitalize }} {{ 'aXbX'.replace('X', 'yy') }} {{ 'aXb'|replace('X', '') }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith('bc') }} {{ 'b' in 'abc' }} {{ 'z' not in 'abc' }} {{ 1 in [1, 2] }} {{ 'role' in messages[0] }} {{ '' in 'a' }}
{{ messages[0] is mapping }} {{ messages is iterable }} {{ 'a' is string }} {{ 1 is number }} {{ true is boolean }} {{ 1 is integer }} {{ messages is string }} {{ messages[0] is sequence }}
{{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 1 }} {{ none == none }} {{ [1, 'a'] == [1, 'a'] }} {{ {'a': 1} == {'a': 1} }} {{ undefined_x == none }} {{ 'a' < 'b' }} {{ 2 >= 2 }} {{ 1 != 2 }}
{{ not true or true and false }} {{ (1 or 0) and 'yes' }} {{ '' or 'no' }} {{ not '' }} {{ 'a' if 1 > 2 else 'b' if 2 > 3 else 'c' }}
{{ messages|tojson }} {{ {'a': [1, 2.5, none, true], 'é': "q\"\n\t"}|tojson }} {{ []|tojson }} {{ {}|tojson(indent=2) }}
{{ {'a': [1, {'b': []}], 'c': {}}|tojson(indent=4) }}
{{ [3, 1]|first }} {{ [3, 1]|last }} {{ 'abc'|first }} {{ 'abc'|list|join('-') }} {{ 42|string + 'x' }} {{ '7'|int + 1 }} {{ [1, 2]|join }} {{ [] | first }}
{{ "tab\tnl\nq\"s\'b\\ u\u00e9 x\x41 \d" }}{{ 'a' 'b' "c" }}
a {%- if true %} b {% endif -%} c {{- ' d ' -}} e {# comment #} f {#- x -#} g
{% if true %}
  x
{% endif %}
  {% if true %}
    y
  {% endif %}  z
   {{ 1 }}
{# gone #}
  {#- gone -#}
w
{%+ if true %}k{% endif +%}
{% raw %}{{ kept }} {% x %}{% endraw %}|{%- raw -%} k {%- endraw -%} |
{{ messages[0].content.split('o')[0] }}{{ messages[0].get('nope', 'dflt') }}{{ messages[0].get('role') }}{{ messages[0].keys()|join(',') }}{{ messages[0]|length }}
{% generation %}{{ 'g' }}{% endgeneration %}{{ (1, 2)|length }}{{ ()|length }}{{ (1)|string }}{{ [1] + [2] == [1, 2] }}{{ {'a': {'b': {}}}|length }}
{{ loop is defined }}{% for a in [1] %}{% for b in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}{% for a in 'xy' %}{{ loop.previtem is defined }}{{ loop.nextitem }}{% endfor %}
{% if messages[5] is defined %}a{% elif messages[0].nope %}b{% elif messages[0].role == 'user' %}c{% else %}d{% endif %}
{{ - 3 + 5 }} {{ 2 - -1 }} {{ -1|string }} {{ 10 is divisibleby 5 }} {{ 4 is even }} {{ 3 is eq 3 }} {{ true is true }} {{ 1 is true }}
{{ 1e3 if false else 3.0 }} {{ 0.1 + 0.2 }} {{ 100000.0 * 10 }} {{ 1 / 3 }} {{ 5.0 // 2 }} {{ 7.5 % 2 }} {{ 1.0 == 1 }}
"""
ERRORS = [  # (source, what the error names) - what jinja would take is refused by name here
    ("{{ raise_exception('pas ' ~ 'ici') }}", "pas ici"), ("{% macro m() %}{% endmacro %}", "macro"), ("{% include 'a' %}", "include"),
    ("{{ messages|selectattr('role') }}", "selectattr"), ("{{ strftime_now('%d') }}", "strftime_now"), ("{{ 'a'.format(1) }}", ".format()"),
    ("{{ x.y }}", "undefined"), ("{{ 1 + 'a' }}", "arithmetic"), ("{{ 1 // 0 }}", "division by zero"), ("{{ messages }}", "a list"),
    ("{{ 1 is strange }}", "strange"), ("{% for x in 3 %}{% endfor %}", "iterated"), ("{% if true %}", "endif"), ("{% endif %}", "endif"),
    ("{{ 'a }}", "unclosed string"), ("{{ 1", "expected \"}}\""), ("{# a", "unclosed comment"), ("{% raw %}", "raw"), ("{{ a ? b }}", "?"),
    ("{% for x in range(2000000) %}{% endfor %}", "steps"), ("{% for x in range(9999) %}{% for y in range(9999) %}{% endfor %}{% endfor %}", "steps"),
    ("{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "levels deep"), ("{{ " + "not " * 300 + "1 }}", "levels deep"),
    ("{{ 1" + " + 1" * 300 + " }}", "levels deep"), ("{% if 1 %}" * 300 + "{% endif %}" * 300, "levels deep"), ("{% break %}", "break"),
    ("{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = x ~ x %}" * 30, "over "), ("{{ 99999999999999999999 }}", "out of range"),
    ("{{ 9223372036854775807 + 1 }}", "overflow"), ("{% set ns.x = 1 %}", "namespace"), ("{{ 1 < 2 < 3 }}", "chained"), ("{{ 'a'|replace('', 'b') }}", "empty"),
    ("{{ messages[0].content[99999:0:0] }}", "step"), ("{{ f(*a) }}", "unpacking"), ("{{ 'a' < 1 }}", "ordered"), ("a\n\nb {{ x( }}", "line 3"),
    ("{{ '\\u12' }}", "escape"), ("{% set a, b = 1 %}", ","), ("{{ [1, 2][0:1:2:3] }}", "colons"), ("{{ {1: 2} }}", "not a string"),
]


def render(source, messages, add, variables):
    compiled = _compile_jinja_template(source)
    return compiled.render(messages=messages, tools=None, documents=None, add_generation_prompt=add, **variables)


def case(text, messages, add, variables, **where):
    c = dict(where, messages=messages, add_generation_prompt=add, variables=variables)
    try:
        c["output"] = render(text, messages, add, variables)
    except Exception as e:  # raise_exception of the template
        c["error"] = str(e).split(":")[-1].strip()[:60]
    return c


def talks():
    return [[{"role": r, "content": t} for r, t in talk] for talk in TALKS]


def write():
    cases = []
    for name in sorted(os.listdir(os.path.join(HERE, "templates"))):
        source = open(os.path.join(HERE, "templates", name), encoding="utf-8", newline="").read()
        for i, talk in enumerate(talks()):
            extra = {"enable_thinking": False} if i % 3 == 1 else {}
            cases.append(case(source, talk, i % 2 == 0 or i == 1, dict(TOKENS, **extra), template=name[:-6]))
    group = []
    for line in SNIPPETS.strip("\n").split("\n") + [""]:
        if line.startswith("{% if true %}") and line == "{% if true %}" or group:
            group.append(line)  # the one snippet of several lines, up to the {%+ line
            if not line.startswith("{%+"):
                continue
            line, group = "\n".join(group), []
        for source in (line, line + "\n", line + "\n\n") if "{#" in line or "{%+" in line else (line,):
            if source:
                cases.append(case(source, talks()[1], True, TOKENS, source=source))
    for source, names in ERRORS:
        cases.append({"source": source, "messages": talks()[0], "add_generation_prompt": False, "variables": {}, "error": names})
    with open(os.path.join(HERE, "cases.ndjson"), "w", encoding="utf-8") as f:
        for c in cases:
            f.write(json.dumps(c, ensure_ascii=False) + "\n")
    print(len(cases), "cases,", sum("error" in c for c in cases), "of them errors")


def check(program, paths):
    bad = 0
    for path in paths:
        config = json.load(open(path, encoding="utf-8"))
        source = config.get("chat_template")
        if not isinstance(source, str):
            print(path, "has no template")
            continue
        cases = [case(source, t, add, TOKENS, source=source) for t in talks() for add in (True, False)]
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson", encoding="utf-8") as f:
            for c in cases:
                f.write(json.dumps(c, ensure_ascii=False) + "\n")
            f.flush()
            out = subprocess.run([program, "--render", f.name], capture_output=True, check=True).stdout.decode().splitlines()
        wrong = [(c, json.loads(o)) for c, o in zip(cases, out)
                 if ("output" in c) != ("output" in json.loads(o)) or c.get("output") != json.loads(o).get("output")]
        for c, o in wrong[:3]:
            print("  got ", o, "\n  want", c.get("output", c.get("error")))
        print(f"{path}: {len(cases)} prompts, {len(wrong)} differ")
        bad += len(wrong)
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[1] == "--check":
        sys.exit(check(sys.argv[2], sys.argv[3:]))
    write()
