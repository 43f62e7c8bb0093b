"""The rules that are measured, as TOML."""

VALIDATE = """
[[rule.pipeline]]
step = "validate"
on = ["main"]
to = "invalid"
columns = {{ {columns} }}
"""
AMOUNT = 'amount = { type = "decimal" }'
ALL_COLUMNS = ", ".join([
    'id = { type = "integer", min = 0 }', 'account = { type = "string", matches = "^AC[0-9]{10}$" }',
    'name = { type = "string", length_max = 40 }', AMOUNT, 'currency = { type = "string", one_of = ["USD", "EUR"] }',
    'date = { type = "date" }', 'status = { type = "string", one_of = ["ACTIVE", "CLOSED", "PENDING", "HOLD"] }',
    'note = { type = "string", length_min = 1 }'])
ROUTE_AND_SELECT = """
[[rule.pipeline]]
step = "route"
on = ["main"]
when = [{ if = { column = "status", equals = "CLOSED" }, to = "closed" }]
else = "main"

[[rule.pipeline]]
step = "select"
on = ["main", "closed"]
columns = ["id", "account", "amount", "date"]
"""
FILTER_ALL = """
[[rule.pipeline]]
step = "filter"
on = ["main"]
drop = { length_below = 1000000 }
"""


def rule(name="payments", pattern="in/*", pipeline=None, categories=("main", "invalid"), form="csv", suffix=".csv", decode="", marker=True):
    """The standard rule: payments, `amount` validated, archived."""
    if pipeline is None:
        pipeline = VALIDATE.format(columns=AMOUNT)
    outputs = "".join(f'[rule.output.{category}]\npath = "out/{{stem}}.{category}{suffix}"\n' for category in categories)
    publish = '[rule.publish]\nmarker = "out/{stem}.done"\n' if marker else ""
    return f"""
[[rule]]
name = "{name}"
paths = ["{pattern}"]

[rule.ready]
linger = "0s"

[rule.decode]
{decode}

[rule.records]
format = "{form}"
{pipeline}
{outputs}
{publish}
[rule.source]
on_success = "archive"
archive_dir = "archive"
"""


def config(*rules, service=""):
    """A configuration with these rules; with none, the standard one."""
    return f'config_version = 1\n\n[service]\ndata_dir = "data"\n{service}\n' + "".join(rules or [rule()])
