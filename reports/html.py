"""A report as one HTML file that needs nothing beside it: style and pictures are inside."""

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.document import Bullets, Document, Heading, Image, Paragraph, Table


def to_html(document: Document, folder: Path) -> str:
    """Return the document's HTML; ``folder`` holds its pictures."""
    environment = Environment(
        loader=PackageLoader("reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def embedded(image: Image) -> str:
        return "data:image/png;base64," + base64.b64encode((folder / image.path).read_bytes()).decode()

    environment.tests |= {
        kind.__name__.lower(): lambda block, kind=kind: isinstance(block, kind)
        for kind in (Heading, Paragraph, Bullets, Table, Image)
    }
    return environment.get_template("report.html.j2").render(document=document, embedded=embedded)
