"""The pages on wrappers and packages name files, functions and members that exist, and the README leads to them."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from contracts import keys
from contracts.vocabulary import ExportFormat, WrapperLanguage
from contracts.wrappers import LANGUAGES
from packager import wrappers
from packager.toolchains import swift

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {language: DOCS / "wrappers" / f"{language}.md" for language in WrapperLanguage}
FENCES = {"python": "python", "cpp": "cpp", "kotlin": "kotlin", "swift": "swift"}
LIBRARY = {
    "python": {"sum", "imread"},
    "cpp": {"cout", "size"},
    "kotlin": {"io", "let", "use", "size"},
    "swift": {"count"},
}
"""Members of each language's own library."""
MADE = {"requirements.txt", "metadata.json", "picture.jpg", "CMakeLists.txt"}


def sources(language: str) -> str:
    found = wrappers.language_files(WrapperLanguage(language))
    return "\n".join(data.decode() for path, data in found.items() if not path.endswith((".png", ".jar")))


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{FENCES[language]}\n(.*?)^```", PAGES[WrapperLanguage(language)].read_text(), re.S | re.M)


@pytest.mark.parametrize("language", FENCES)
def test_snippets_use_members_that_exist(language: str) -> None:
    (snippet,) = snippets(language)
    code = re.sub(r'"[^"\n]*"', lambda text: " ".join(re.findall(r"\$\{(.*?)\}", text[0])), snippet)
    code = re.sub(r"(//|#(?!include)).*", "", code)
    members = set(re.findall(r"(?:\.|->|::)([A-Za-z_]\w*)", code)) - LIBRARY[language]
    text = sources(language)
    assert len(members) > 4
    assert {name for name in members if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize("language", FENCES)
def test_snippets_show_every_kind_of_prediction(language: str) -> None:
    (snippet,) = snippets(language)
    for word in ("class", "confidence", "bbox", "mask", "area"):
        assert word in snippet


@pytest.mark.parametrize("language", FENCES)
def test_pages_name_functions_that_exist(language: str) -> None:
    page, text = PAGES[WrapperLanguage(language)].read_text(), sources(language)
    named = set(re.findall(r"`(\w+)\(", page)) | set(re.findall(r"^\| `(\w+)\(", page, re.M))
    named |= set(re.findall(r"`(\w*Error|[a-z]+_[a-z_]+|[a-z]+[A-Z]\w+)`", page)) - {"sample_code"}
    assert named
    assert {name for name in named if not re.search(rf"\b{name}\b", text)} <= {"raspberry_pi"}


@pytest.mark.parametrize("page", [*PAGES.values(), DOCS / "packages.md"], ids=lambda page: page.stem)
def test_pages_name_files_that_exist(page: Path) -> None:
    text = page.read_text()
    folders = ("services/packager/src/packager/**/*", "services/packager/tests/*", "libs/processing/src/**/*")
    here = {path.name for folder in folders for path in ROOT.glob(folder)}
    known = here | MADE | {keys.LABELS, keys.GOLDENS, keys.PARITY_REPORT, "config.pbtxt"}
    named = set(re.findall(r"[\w/.-]*?([\w.-]+\.(?:py|kts|kt|cpp|h|swift|txt|pbtxt|safetensors))\b", text))
    assert {name for name in named if name not in known} == set()


def test_the_swift_snippet_is_swift() -> None:
    (snippet,) = snippets("swift")
    assert swift.parse({"snippet": snippet.encode()}) == []


def test_the_python_snippet_is_python() -> None:
    (snippet,) = snippets("python")
    compile(snippet, "snippet", "exec")


def test_the_table_of_languages_is_that_of_the_contracts() -> None:
    titles = {"Python": "python", "C++": "cpp", "Kotlin": "kotlin", "Swift": "swift"}
    page = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", (DOCS / "packages.md").read_text())
    told = {
        export_format: {titles[name] for name in row[1].split(", ")}
        for row in re.findall(r"^\| ([a-z, ]+) \| ((?:Python|C\+\+)[^|]*?) \|$", page, re.M)
        for export_format in row[0].split(", ")
    }
    assert told == {str(one): {str(each) for each in LANGUAGES[one]} for one in ExportFormat}


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in (*PAGES.values(), DOCS / "packages.md"):
        assert str(page.relative_to(ROOT)) in readme


def test_the_provenance_is_named_as_it_lies() -> None:
    page = (DOCS / "packages.md").read_text()
    for path in (keys.SBOM, keys.STATEMENT, keys.SIGNATURE):
        assert path.rpartition("/")[2] in page


def test_samples_that_the_pages_speak_of_exist() -> None:
    for device in ("ios", "android"):
        assert files("packager").joinpath("samples", device, "README.md").is_file()
