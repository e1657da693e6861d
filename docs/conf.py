"""The site: Sphinx, MyST, furo. Builds offline, with warnings as errors: `make docs`."""

import importlib.metadata
import os
import re

project = "jaxspk"
author = "The jaxspk developers"
copyright = "the jaxspk developers, Apache License 2.0"
release = version = importlib.metadata.version("jaxspk")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    # Formulas without the network: MathJax's files travel with the site.
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Links into the documentation of JAX and others need the network, so they are made only where asked for.
if os.environ.get("JAXSPK_DOCS_LINKS") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "flax": ("https://flax.readthedocs.io/en/latest", None),
        "optax": ("https://optax.readthedocs.io/en/latest", None),
    }

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "imported-members": True}
autodoc_member_order = "alphabetical"
autodoc_typehints = "signature"
# Long signatures one argument a line, as ruff formats them.
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"jaxspk {release}"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5f8a", "color-brand-content": "#0b5f8a"},
    "dark_css_variables": {"color-brand-primary": "#7cc0ea", "color-brand-content": "#7cc0ea"},
}


def shorten_arrays(app, kind, name, instance, options, signature, returned):
    """Writes jaxtyping's arrays as they stand in the source: `Float[Array, "bins"]`."""
    return tuple(
        text
        and re.sub(r"\b(?:jax\.)?(?:jaxlib\.)?_jax\.Array\b|\bjax\.Array\b", "Array", text).replace(
            "numpy.ndarray", "ndarray"
        )
        for text in (signature, returned)
    )


def setup(app):
    app.connect("autodoc-process-signature", shorten_arrays)
