"""Sphinx extension: what pages say about where the course comes from, and under which licences.

* Buttons that open a chapter on Colab or Binder, show its source, or report a fault stand on pages only where
  `_config.yml` gives the address of the repository (`repository: {url: ...}`). The addresses of the two services stand
  there as well (`launch_buttons`); which of them know the repository's host is decided here.
* The footer of every page names the licences of text and code, and leads to those of the parts that the site embeds.
"""

from urllib.parse import urlsplit

LICENCES = "licences.txt"  # in _static
FOOTER = (
    '<p>Text and figures: <a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>. '
    'Code: BSD 3-Clause. <a href="{licences}">Licences of the parts that this site embeds</a>.</p>'
)
SOURCE_BUTTONS = ("use_repository_button", "use_issues_button", "use_edit_page_button")
HOSTS = ("github.com", "gitlab.com")  # hosts that the theme can link to
COLAB_HOSTS = ("github.com",)  # hosts that Colab can open notebooks from


def set_buttons(app, config):
    """Switch the buttons on that the repository's host allows, and all of them off where there is no address."""
    theme = config["html_theme_options"]
    host = urlsplit(theme.get("repository_url") or "").hostname
    for button in SOURCE_BUTTONS:
        theme[button] = host in HOSTS
    if host not in HOSTS:
        theme.pop("repository_url", None)  # the theme refuses to build with another one
        theme.pop("launch_buttons", None)
    elif host not in COLAB_HOSTS:
        theme["launch_buttons"] = {**theme.get("launch_buttons", {}), "colab_url": ""}


def add_footer(app, pagename, templatename, context, doctree):
    """Let the footer of the page name the licences."""
    context["theme_extra_footer"] = FOOTER.format(licences=context["pathto"](f"_static/{LICENCES}", resource=True))


def setup(app):
    """Connect the steps to Sphinx."""
    app.connect("config-inited", set_buttons, priority=100)
    app.connect("html-page-context", add_footer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
