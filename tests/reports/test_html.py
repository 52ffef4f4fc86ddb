import re
from html.parser import HTMLParser
from pathlib import Path

from reports.document import Document, Paragraph, Section
from reports.html import to_html


class Tags(HTMLParser):
    """Collects what a page refers to, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_beside_it(run_folder: Path) -> None:
    tags = Tags()
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    tags.feed(page)
    assert tags.open == []
    assert sum(source.startswith("data:image/png;base64,") for source in tags.sources) == 5
    assert all(source.startswith(("data:", "#")) for source in tags.sources)
    assert "url(" not in page


def test_the_page_says_the_same_as_the_markdown(run_folder: Path) -> None:
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    source = (run_folder / "report.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^## (.+)$", source, re.MULTILINE):
        assert f"<h2>{heading}</h2>" in page
    assert page.count('class="troubled"') >= 3 * 4


def test_text_cannot_become_markup(tmp_path: Path) -> None:
    document = Document("<b>", (Section("s", (Paragraph("<script>alert(1)</script>"),)),))
    assert "<script>" not in to_html(document, tmp_path)
