"""The README of a model: everything measured is in it, nothing that a user named is obeyed by it."""

import json
import re

import msgspec
import pytest
from markdown_it import MarkdownIt

from contracts import model_package as mp
from contracts.vocabulary import Decoder, ExportFormat, Proof, WrapperLanguage, WrapperProof
from contracts.wrappers import LANGUAGES
from packager import readme, wrappers
from packager.readme import languages, markdown
from packager.wrappers import entry_points

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def html(metadata):
    return MARKDOWN.render(readme.render(metadata))


def test_hostile_names_are_shown_and_not_obeyed(artefact):
    control = mp.ModelClass(id=9, name="../../etc/passwd\n# heading\r\n```\u202e\u0000")
    page = html(msgspec.structs.replace(artefact.metadata, classes=(*artefact.metadata.classes, control)))
    for tag in ("<script", "<img", "<b>", "<strong>e", 'href="http://evil'):
        assert tag not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "日本語 ünï 🚀" in page
    assert "\u202e" not in page
    assert page.count("<h1>") == 1
    assert "heading" not in "".join(re.findall(r"<h\d>(.*?)</h\d>", page))


def test_a_row_for_each_class(artefact):
    page = html(artefact.metadata)
    table = page.split("Classes")[1].split("</table>")[0]
    assert table.count("<tr>") == 1 + len(artefact.metadata.classes)
    assert len(re.findall(r"<td", table)) == 2 * len(artefact.metadata.classes)


def test_what_was_measured_is_told(artefact):
    text = readme.render(artefact.metadata)
    for part in (
        "verified",
        "32 inputs, 16 of them not square",
        "40 of 40",
        "1e-05",
        "1.50 ms",
        "2.00 MB",
        "ab" * 32,
        "ratio 2.00",
        "AGPL-3.0",
        "labels.txt",
    ):
        assert part in text
    assert not re.search(r"\$[a-z_]+\b", text)


def test_options_stay_inside_their_block(artefact):
    blocks = re.findall(r"```json\n(.*?)\n```", readme.render(artefact.metadata), re.DOTALL)
    assert [json.loads(block) for block in blocks] == [artefact.metadata.provenance.export_options]


def test_long_lists_are_cut(artefact):
    classes = tuple(mp.ModelClass(id=i, name=f"class {i} " + "x" * 500) for i in range(1000))
    text = readme.render(msgspec.structs.replace(artefact.metadata, classes=classes))
    assert "and 900 more" in text
    assert len(text) < 30_000


@pytest.mark.parametrize("decoder", list(Decoder))
@pytest.mark.parametrize("performance", [True, False])
def test_every_decoder_has_its_sentence(artefact, decoder, performance):
    post = msgspec.structs.replace(artefact.metadata.postprocessing, decoder=decoder)
    changes = {"postprocessing": post} if performance else {"postprocessing": post, "performance": None}
    text = readme.render(msgspec.structs.replace(artefact.metadata, **changes))
    assert f"Decoder `{decoder}`" in text


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_each_language_of_the_package_has_its_section_and_its_status(artefact, export_format):
    info = msgspec.structs.replace(artefact.metadata.model_info, export_format=export_format)
    detail = "C++ built it | `x` <b>"
    proofs = {WrapperLanguage.CPP: mp.WrapperStatus(proof=WrapperProof.BUILT, detail=detail)}
    text = readme.render(msgspec.structs.replace(artefact.metadata, model_info=info, wrapper_proofs=proofs))
    page = MARKDOWN.render(text)
    headings = re.findall(r"<h3>(.*?)</h3>", page)
    assert headings == [languages.TITLES[language] for language in LANGUAGES[export_format]]
    rows = re.search(r"<th>wrapper</th>.*?<tbody>(.*?)</tbody>", page, re.DOTALL)[1].split("</tr>")[:-1]
    assert len(rows) == len(LANGUAGES[export_format])
    for language, row in zip(LANGUAGES[export_format], rows, strict=True):
        word = "built" if language is WrapperLanguage.CPP else "not proven"
        assert f"<strong>{word}</strong>" in row
        assert row.count("<td>") == 4
    assert "<b>" not in page
    assert not re.search(r"\$[a-z_]+\b", text)


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_files_that_the_readme_names_are_in_the_package(artefact, export_format):
    info = msgspec.structs.replace(artefact.metadata.model_info, export_format=export_format)
    text = readme.render(msgspec.structs.replace(artefact.metadata, model_info=info))
    shipped = wrappers.sources(export_format)
    named = set(re.findall(r"runtimes/[\w/]+\.\w+", text)) - {"runtimes/python/requirements.txt"}
    assert named <= set(shipped)
    assert set(entry_points(shipped).values()) <= named


def test_every_proof_has_its_meaning():
    assert set(readme.PROOFS) == set(Proof)


@pytest.mark.parametrize("text", ["https://evil.example", "www.evil.example", "HTTP://evil", "me@evil.example"])
def test_bare_addresses_are_broken_up_so_that_no_renderer_links_them(text):
    assert text not in markdown.escape(text)
    assert text in MARKDOWN.render(markdown.escape(text))


@pytest.mark.parametrize("text", ["", "\n\t ", "\u2028"])
def test_an_empty_name_is_visible(text):
    assert markdown.escape(text) == "(empty)"


@pytest.mark.parametrize(
    ("export_format", "shown"),
    [(ExportFormat.ONNX, 'File("picture.jpg")'), (ExportFormat.TFLITE, 'asset("model.tflite")')],
)
def test_kotlin_is_shown_where_the_format_s_runtime_runs(artefact, export_format, shown):
    """LiteRT has no release for the JVM: a program of files could not load the model."""
    info = msgspec.structs.replace(artefact.metadata.model_info, export_format=export_format)
    model = msgspec.structs.replace(artefact.metadata, model_info=info, model_file=f"model.{export_format}")
    (code,) = re.findall(r"^```kotlin\n(.*?)^```$", languages.sections(model), re.M | re.S)
    assert shown in code
    assert ("import java.io.File" in code) is (export_format is ExportFormat.ONNX)
