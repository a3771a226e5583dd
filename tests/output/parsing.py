"""A page as its parts, without a browser."""

import json
from html.parser import HTMLParser


class Parsed(HTMLParser):
    """The elements of a page, and the text inside each `script` and `style`."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] in ("script", "style") and data.strip():
            self.texts.append((self.elements[-1], data))

    def first(self, tag, **attributes):
        wanted = attributes.items()
        return next(found for name, found in self.elements if name == tag and wanted <= found.items())

    def text(self, tag, **attributes):
        return next(text for (name, found), text in self.texts if name == tag and attributes.items() <= found.items())

    @property
    def data(self):
        return json.loads(self.text("script", id="data"))

    @property
    def policy(self):
        rules = self.first("meta", **{"http-equiv": "Content-Security-Policy"})["content"].split("; ")
        return dict(rule.split(" ", 1) for rule in rules)
