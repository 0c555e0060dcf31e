"""Values in, values out: what a session looks like, as text, rows and plot data."""

from explorer.views.chart import chart_data
from explorer.views.files import path_csv, session_file, table_csv, token_table
from explorer.views.strip import strip_chips
from explorer.views.table import summary, table_rows
from explorer.views.text import plain_text, printable

__all__ = [
    "chart_data",
    "path_csv",
    "plain_text",
    "printable",
    "session_file",
    "strip_chips",
    "summary",
    "table_csv",
    "table_rows",
    "token_table",
]
