"""Open pages of a built book in Chromium and say what is wrong with them.

`Site` serves a folder over HTTP on this machine and knows its files; `visit` opens one page in the browser and
returns its faults, each a line that begins with its kind: "foreign request: ...", "mathematics: ...".
"""

import functools
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
LOCAL_SCHEMES = ("data", "blob", "about")

# Resolves when MathJax, if the page asks for it, has typeset everything, and every picture has arrived or failed.
SETTLED = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const pictures = [...document.images];
  pictures.forEach(picture => { picture.loading = "eager"; });
  await Promise.all(pictures.map(picture => picture.decode().catch(() => null)));
  await document.fonts.ready;
}"""

MATHEMATICS = r"""() => {
  const faults = [];
  const excerpt = text => text.trim().replace(/\s+/g, " ").slice(0, 80);
  for (const node of document.querySelectorAll(".math"))
    if (!node.querySelector("mjx-container")) faults.push("not rendered: " + excerpt(node.textContent));
  for (const node of document.querySelectorAll("mjx-merror, [data-mml-node=merror], mjx-assistive-mml merror"))
    faults.push("MathJax reports an error: " + excerpt(node.getAttribute("title") || node.textContent));
  for (const node of document.querySelectorAll("mjx-assistive-mml mtext[mathcolor=red]"))
    faults.push("undefined macro: " + excerpt(node.textContent));
  const skipped = "script, style, code, pre, textarea, mjx-container, .math, noscript, template";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const raw = /\$[^$]*[\\^_={][^$]*\$|\$\$|\\\(|\\\[|\\begin\{|\\[a-zA-Z]{3,}/;
  const role = /\{(ref|eq|numref|doc|cite|cite:[a-z]+|prf:ref|math|term)\}/;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest(skipped)) continue;
    if (raw.test(node.data)) faults.push("raw source in the text: " + excerpt(node.data));
    if (role.test(node.data)) faults.push("a role was not understood: " + excerpt(node.data));
  }
  return faults;
}"""

PICTURES = """() => [...document.images].flatMap(picture => {
  const source = (picture.getAttribute("src") || "").slice(0, 80);
  const faults = [];
  if (!picture.naturalWidth) faults.push("does not load: " + source);
  const hidden = picture.closest("[aria-hidden=true], [role=presentation]");
  if (!hidden && !(picture.getAttribute("alt") || "").trim()) faults.push("has no alternative text: " + source);
  return faults;
})"""

# The page itself and the boxes that hold the whole text must not scroll sideways; smaller boxes may.
OVERFLOW = """() => {
  const boxes = [document.documentElement, ...document.querySelectorAll("main, article, .bd-article-container")];
  const wide = boxes.filter(box => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0);
  if (!wide.length) return [];
  const limit = document.documentElement.clientWidth;
  const scrolls = node => ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(node).overflowX);
  const article = document.querySelector("article") || document.body;
  const inBox = node => { for (let up = node.parentElement; up && up !== article; up = up.parentElement)
                            if (scrolls(up)) return true; return false; };
  const culprits = [...article.querySelectorAll("*")]
    .filter(node => node.getBoundingClientRect().right > limit + 1 && !inBox(node))
    .map(node => node.tagName.toLowerCase() + (node.className ? "." + String(node.className) : "")
                 + " '" + node.textContent.trim().slice(0, 30) + "'");
  return ["the page is " + Math.max(...wide.map(box => box.scrollWidth)) + " px wide: " + culprits.slice(0, 3)];
}"""

LINKS = '() => [...document.querySelectorAll("a[href]")].map(link => link.getAttribute("href"))'


class _Anchors(HTMLParser):
    """Collects the names that a page can be entered at."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def handle_starttag(self, tag, attributes):
        self.names.update(
            value for name, value in attributes if value and (name == "id" or (tag, name) == ("a", "name"))
        )


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *arguments):
        pass


class Site:
    """A folder of HTML pages, reachable over HTTP (while used as a context manager) and from the disk."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        self.server = None

    def __enter__(self):
        handler = functools.partial(_QuietHandler, directory=str(self.folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()

    def base(self, scheme):
        """Return the address of the folder under "http" or "file", with a slash at the end."""
        if scheme == "file":
            return self.folder.as_uri() + "/"
        return f"http://127.0.0.1:{self.server.server_port}/"

    def pages(self):
        """Return the pages' paths relative to the folder; what lies in `_static` belongs to the theme."""
        paths = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.html")]
        return sorted(path for path in paths if not path.startswith("_static/"))

    def leads_on(self, path):
        """Tell whether the page sends the reader to another one at once."""
        return 'http-equiv="refresh"' in (self.folder / path).read_text(encoding="utf-8")

    @functools.cache  # noqa: B019 - a site lives as long as the tests that use it
    def anchors(self, path):
        """Return the anchors of the page at `path`."""
        parser = _Anchors()
        parser.feed((self.folder / path).read_text(encoding="utf-8"))
        return parser.names

    def link_fault(self, page, link):
        """Return what is wrong with a link of a page, or None; links to other hosts are not followed."""
        target, anchor = urldefrag(urljoin(self.base("file") + page, link))
        if urlsplit(link).scheme == "file":
            return f"names a place on one machine's disk: {link}"
        if urlsplit(target).scheme != "file":
            return None
        path = unquote(target.removeprefix(self.base("file")))
        if not (self.folder / path).is_file():
            return f"leads nowhere: {link}"
        # Scripts make "#" and "#main-content" work; every other anchor must stand in the page.
        if anchor and path.endswith(".html") and unquote(anchor) not in self.anchors(path):
            return f"has an anchor that does not exist: {link}"
        return None


class _Record:
    """What one page asked for and complained of while it was open."""

    def __init__(self, page, base):
        self.base = base
        self.faults = []
        self.pending = 0
        page.on("request", self.requested)
        page.on("requestfinished", self.finished)
        page.on("requestfailed", self.failed)
        page.on("response", self.answered)
        page.on("console", self.said)
        page.on("pageerror", lambda error: self.add("page error", str(error).splitlines()[0]))
        page.on("websocket", lambda socket: self.add("foreign request", socket.url))

    def add(self, kind, what):
        self.faults.append(f"{kind}: {what}")

    def requested(self, request):
        self.pending += 1
        if not request.url.startswith(self.base) and urlsplit(request.url).scheme not in LOCAL_SCHEMES:
            self.add("foreign request", request.url)

    def finished(self, request):
        self.pending -= 1

    def failed(self, request):
        self.pending -= 1
        self.add("failed request", f"{request.url} ({request.failure})")

    def answered(self, response):
        if response.status >= 400:
            self.add("failed request", f"{response.url} ({response.status})")

    def said(self, message):
        if message.type == "error":
            self.add("console error", f"{message.text} ({message.location.get('url', '')})")


def wait_until_quiet(page, record, limit=10_000, step=25):
    """Wait until the page is typeset and asks for nothing more."""
    page.evaluate(SETTLED)
    quiet = waited = 0
    while quiet < 2 and waited < limit:
        page.wait_for_timeout(step)
        waited += step
        quiet = quiet + 1 if record.pending <= 0 else 0


def visit(browser, site, path, scheme):
    """Open one page wide and narrow; return its faults, one line each."""
    context = browser.new_context(viewport=DESKTOP)
    try:
        page = context.new_page()
        record = _Record(page, site.base(scheme))
        page.goto(site.base(scheme) + path, wait_until="load")
        if site.leads_on(path):
            page.wait_for_url(lambda url: not url.endswith(f"/{path}"), wait_until="load")
        wait_until_quiet(page, record)
        for kind, script in (("mathematics", MATHEMATICS), ("picture", PICTURES)):
            for fault in page.evaluate(script):
                record.add(kind, fault)
        current = unquote(page.url.split("#")[0].removeprefix(site.base(scheme)))
        for link in page.evaluate(LINKS):
            if fault := site.link_fault(current, link):
                record.add("link", fault)
        page.set_viewport_size(PHONE)
        for fault in page.evaluate(OVERFLOW):
            record.add("overflow", fault)
        return sorted(set(record.faults))
    finally:
        context.close()
