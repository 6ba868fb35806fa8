"""The pages: each link leads somewhere, each name in them is one, and they make a site."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from checking.vocabulary import OF_REGISTRY, SECURITY, known
from demo.workers import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
OTHERS = {
    *(one.name for one in (*SECURITY, *OF_REGISTRY)),  # as their tables have them, without their prefix
    *("SASL_PLAINTEXT", "SASL_SSL"),  # values of a variable
    *("ALTER_CONFIGS", "DESCRIBE_CONFIGS"),  # operations of Kafka's ACLs
    "FEDERATED_DATA_CONTROL_TOPIC",  # a topic of Kafka-ML's backend
    "KAFKA_BOOTSTRAP",  # of demo and tests
}
OF_LIBRARIES = ("MLFLOW_", "OTEL_")  # which read more of them than the worker does
FENCE = re.compile(r"^( *)```[\s\S]*?^\1```$|^(?: {4}.*\n)+", re.MULTILINE)
IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link: in lower case, spaces as hyphens, nothing but letters besides."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_each_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    lost = []
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_each_command_of_make_is_one(page: Path) -> None:
    commands = re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    told = re.findall(r"`make ([a-z-]+)", page.read_text())
    assert set(told) <= set(commands)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_what_is_set_in_an_example_is_a_variable(page: Path) -> None:
    examples = "".join(block[0] for block in re.finditer(r"^(?: {4,}.*\n)+", page.read_text(), re.MULTILINE))
    names = set(re.findall(r"^ {4,}([A-Z][A-Z_]+)=", examples, re.MULTILINE))
    assert names <= set(known())


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "contributors.md"], ids=lambda page: page.name)
def test_what_looks_like_a_variable_is_one(page: Path) -> None:
    names = set(re.findall(r"(?<![\w-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w-])", page.read_text()))
    assert {name for name in names if not name.startswith(OF_LIBRARIES)} <= {*known(), *OTHERS}


def test_the_pages_make_a_site_without_a_link_that_is_lost_and_fetch_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted(path.relative_to(tmp_path).with_suffix(".md") for path in tmp_path.glob("*.html"))
    assert {str(page) for page in pages} - {"404.md"} == {page.name for page in (REPOSITORY / "docs").glob("*.md")}
    for page in tmp_path.glob("*.html"):
        assert Loaded(page.read_text()).foreign == []


class Loaded(HTMLParser):
    """What a browser fetches for a page from elsewhere, before anybody clicks."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"link", "script", "img", "iframe", "source"}:
            self.foreign += [value or "" for name, value in attrs if name in {"src", "href"} and "//" in (value or "")]
