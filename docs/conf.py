"""How sphinx builds the pages. Nothing is fetched: no inventories, no fonts, no scripts."""

from pathlib import Path

from docutils import nodes

import providerkit

project = "providerkit"
author = "the providerkit authors"
version = release = providerkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"providerkit {version}"
html_static_path = ["_static"]
html_css_files = ["providerkit.css"]
html_copy_source = False
html_show_copyright = False

myst_heading_anchors = 3

default_role = "code"
smartquotes = False  # they would change what is to be typed, as --load
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

nitpicky = True
nitpick_ignore_regex = [
    # Types of other packages, whose pages can't be asked offline.
    ("py:class", r"(collections\.abc|contextlib)\..*|os\.PathLike|Application|BaseConnector"),
    # What is given to callers, and never named by them.
    ("py:class", r"Prompt|RunOptions|ProviderOptions|EndpointOptions"),
    ("py:class", r"providerkit\.(runs\.Events|imitation\.Sandbox|policy\.Alarm)"),
    ("py:class", r"providerkit\.extensions\.(recorder\.Recorder|player\.Player)"),
]


def _draw_in_place(app, doctree, docname):
    """Put drawings into the page itself, where they take its colours.

    As images they would know only the system's, and not the choice of the reader.
    """
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            drawing = Path(app.srcdir, image["uri"]).read_text("utf-8")
            image.replace_self(
                nodes.raw("", f'<div class="drawing">{drawing}</div>', format="html")
            )


def _link_names(app, doctree, docname):
    """Make links of public names in prose; those in lower case are words and options, too."""
    known = app.env.domains.python_domain.objects
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().removeprefix("providerkit.")
        entry = known.get(f"providerkit.{name}") if name[:1].isupper() else None
        if entry and not isinstance(literal.parent, nodes.reference):
            page = app.builder.get_relative_uri(docname, entry.docname)
            link = nodes.reference("", "", refuri=f"{page}#{entry.node_id}", internal=True)
            literal.replace_self(link)
            link += literal


def _say_default(app, what, name, obj, options, signature, return_annotation):
    """Say of a default that attrs makes anew for each value only that there is one."""
    return signature and signature.replace(" = NOTHING", " = ..."), return_annotation


def _keep_backslashes(app, context, lines):
    """Let the words of commands show as they are: sphinx-click takes them for markup."""
    lines[:] = [line.replace("\\", "\\\\") for line in lines]


def setup(app):
    """Tell sphinx of the above."""
    app.connect("sphinx-click-process-description", _keep_backslashes)
    app.connect("sphinx-click-process-epilog", _keep_backslashes)
    app.connect("doctree-resolved", _draw_in_place)
    app.connect("doctree-resolved", _link_names)
    app.connect("autodoc-process-signature", _say_default)
