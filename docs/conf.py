"""How the site is built: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generate

import metarl

project = "metarl"
author = copyright = "The metarl authors"
release = metarl.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
default_role = "code"  # docstrings write `name`
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"metarl {release}"
html_copy_source = False


def show_public_bases(app, name, cls, options, bases):
    """Show what a class is a kind of, where its own base is only how it is written."""
    bases[:] = [base.__base__ if getattr(base, "__name__", "").startswith("_") else base for base in bases]


def setup(app):
    """Write the generated pages before Sphinx reads any."""
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("builder-inited", lambda app: generate.write(Path(app.srcdir) / "_generated"))
