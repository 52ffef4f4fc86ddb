from reports.document import Bullets, Column, Document, Image, Paragraph, Section, tabulate
from reports.markdown import markdown_table, to_markdown
from reports.units import milliseconds


def test_a_table_lines_up_in_its_source_and_aligns_numbers_right() -> None:
    columns: list[Column[tuple[str, float]]] = [
        Column("name", "setting", lambda item: item[0], numeric=False),
        Column("time", "gaze", lambda item: item[1], "ms/frame", milliseconds),
        Column("gazes", "gazes", lambda item: 416, "/clip"),
    ]
    assert markdown_table(tabulate(columns, [("ratio_0.10", 0.0148), ("task", 1.5)])) == "\n".join(
        [
            "| setting    | gaze, ms/frame | gazes/clip |",
            "| ---------- | -------------: | ---------: |",
            "| ratio_0.10 |           14.8 |        416 |",
            "| task       |           1500 |        416 |",
        ]
    )


def test_a_value_can_neither_break_its_table_nor_become_html() -> None:
    column: Column[str] = Column("reason", "reason", lambda item: item, numeric=False)
    source = markdown_table(tabulate([column], ["a|b <script>\nc"]))
    assert source.splitlines()[-1] == "| a\\|b &lt;script> c |"


def test_blocks_are_parted_by_blank_lines() -> None:
    section = Section("One", (Paragraph("text"), Bullets(("a", "b")), Image("plots/x.png", "X", "what")))
    assert to_markdown(Document("Title", (section,))) == (
        "# Title\n\n## One\n\ntext\n\n* a\n* b\n\n### X\n\n![X](plots/x.png)\n\nwhat\n"
    )
