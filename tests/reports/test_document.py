from reports.document import Column, tabulate

COLUMNS: list[Column[dict[str, float | str | None]]] = [
    Column("name", "name", lambda item: item["name"], numeric=False),
    Column("time", "time", lambda item: item["time"], "ms"),
    Column("status", "status", lambda item: item["status"], numeric=False),
]
ITEMS: list[dict[str, float | str | None]] = [
    {"name": "a", "time": None, "status": "ok"},
    {"name": "b", "time": None, "status": "failed"},
]


def test_columns_that_hold_nothing_can_be_left_out() -> None:
    table = tabulate(COLUMNS, ITEMS).without_empty()
    assert [column.key for column in table.columns] == ["name", "status"]
    assert table.rows == (("a", "ok"), ("b", "failed"))


def test_rows_of_cells_that_did_not_succeed_are_marked() -> None:
    table = tabulate(COLUMNS, ITEMS)
    assert [table.troubled(row) for row in (0, 1)] == [False, True]


def test_an_empty_table_has_no_rows_to_mark() -> None:
    table = tabulate(COLUMNS, [])
    assert (table.rows, table.without_empty().columns) == ((), ())
