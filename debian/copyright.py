#!/usr/bin/python3
"""Prints debian/copyright: the project's own stanza, and one for each crate of Cargo.lock, as `make dist` vendors them.

`make copyright` calls it after a change of dependencies; tests/tidy.rs fails while a crate has no stanza. What a crate
says of its licence comes from its Cargo.toml, who owns it from its licence files, else from its authors field.
"""
import json
import pathlib
import re
import subprocess
import textwrap

HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: jabber
Comment: Made by debian/copyright.py. The crates under vendor/ are in the source
 tarball that make dist builds, and their code is linked into jabberd.

Files: *
Copyright: 2026 the jabber developers
License: Expat
"""

# Cargo's licence names in Debian's spelling.
NAMES = {
    "MIT": "Expat",
    "0BSD": "0BSD",
    "Unlicense": "Unlicense",
    "Zlib": "Zlib",
    "ISC": "ISC",
    "Apache-2.0": "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception": "Apache-2.0 with LLVM exception",
    "BSD-2-Clause": "BSD-2-clause",
    "BSD-3-Clause": "BSD-3-clause",
    "MPL-2.0": "MPL-2.0",
    "Unicode-3.0": "Unicode-3.0",
    "CC0-1.0": "CC0-1.0",
    "CDLA-Permissive-2.0": "CDLA-Permissive-2.0",
    "BSL-1.0": "BSL-1.0",
    "MIT-0": "MIT-0",
    "LGPL-2.1-or-later": "LGPL-2.1+",
}

# What Cargo.toml does not say, read from the crates' own files.
BY_HAND = {
    "ring": ("ISC and Apache-2.0", ["2015-2025 Brian Smith", "1998-2023 The OpenSSL Project Authors", "Google Inc."]),
    "libsqlite3-sys": (None, ["The rusqlite developers", "D. Richard Hipp and the SQLite authors (sqlite3/, public domain)"]),
}

TEXTS = pathlib.Path(__file__).parent / "licenses"


def packages():
    """All packages of Cargo.lock but our own, with their Cargo.toml's fields, on every platform."""
    out = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"],
                         check=True, capture_output=True, text=True).stdout
    found = {}
    for package in json.loads(out)["packages"]:
        if package["source"]:
            found.setdefault(package["name"], []).append(package)
    for versions in found.values():
        versions.sort(key=lambda package: [int(part) for part in re.findall(r"\d+", package["version"])])
    return sorted(found.items())


def expression(package):
    """The licence in DEP-5's words: `Expat or Apache-2.0`."""
    text = re.sub(r"\s*/\s*", " OR ", package["license"] or "").replace("(", "").replace(")", "")
    text = text.replace(" WITH LLVM-exception", "_LLVM")
    words = []
    for word in text.split():
        word = word.replace("_LLVM", " WITH LLVM-exception")
        words.append({"OR": "or", "AND": "and"}.get(word) or NAMES[word])
    # `A or B and C` is ambiguous without a comma: DEP-5 has `and` bind tighter unless a comma stands before it.
    joined = " ".join(words)
    if "(" in (package["license"] or "") and " and " in joined:
        joined = joined.replace(" and ", ", and ")
    return joined


def owners(package):
    """Copyright lines of the crate's licence files, else its authors."""
    folder = pathlib.Path(package["manifest_path"]).parent
    lines = []
    for file in sorted(folder.iterdir()):
        if not re.match(r"(?i)(licen[cs]e|copying|copyright|notice)", file.name) or not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            match = re.match(r"\s*(?:Portions )?Copyright\s+(?:(?:\(c\)|©|&copy;)\s*)?(.*\w.*)", line, re.I)
            if not match:
                continue
            owner = re.sub(r"^(?:\(c\)|©)\s*|\s*All rights reserved\.?$|[.,;]+$", "", match[1].strip(), flags=re.I)
            boilerplate = r"notice|owner|license|\[yyyy\]|\{yyyy\}|holder|statement|interest|and related|law|YYYY"
            if owner and not re.search(boilerplate, owner, re.I) and owner not in lines:
                lines.append(owner)
    authors = [re.sub(r"\s*<.*", "", author) for author in package["authors"]]
    return lines or authors or ["The %s developers" % package["name"]]


def folded(field, values):
    """A DEP-5 field with one value a line."""
    return "%s: %s" % (field, ("\n" + " " * (len(field) + 2)).join(values))


def main():
    print(HEAD)
    used = {"Expat"}
    for name, versions in packages():
        people = []
        for package in versions:
            people += [owner for owner in owners(package) if owner not in people]
        licence, by_hand = BY_HAND.get(name, (None, None))
        licence = licence or expression(versions[-1])
        files = ["vendor/%s/*" % name]
        # cargo vendor puts the newest version into the folder without a number.
        files += ["vendor/%s-%s/*" % (name, package["version"]) for package in versions[:-1]]
        print(folded("Files", files))
        print(folded("Copyright", by_hand or people))
        print("License: %s\n" % licence)
        used.update(re.split(r",? (?:or|and) ", licence))
    print("Files: debian/*\nCopyright: 2026 the jabber developers\nLicense: Expat\n")
    for licence in sorted(used):
        text = (TEXTS / (licence.replace(" ", "-") + ".txt")).read_text()
        print("License: %s" % licence)
        for line in text.strip().splitlines():
            print(" " + line if line.strip() else " .")
        print()


if __name__ == "__main__":
    main()
