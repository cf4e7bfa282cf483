#!/usr/bin/python3
"""Prints debian/copyright: the project's own stanza, and one for each crate of Cargo.lock, as `make dist` vendors them.

`make copyright` calls it after a change of dependencies; tests/tidy.rs fails while a crate has no stanza, and
`make copyright-check` while one is not what the crate says. What a crate says of its licence comes from its Cargo.toml,
who owns it from its licence files, else from its authors field. A folder within a crate that has a licence file of its
own, for it came from elsewhere, gets a stanza of its own.
"""
import json
import pathlib
import re
import subprocess
import sys

HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: jabber
Upstream-Contact: The jabber developers, as in the Maintainer field
Source: There is no other place to get it from: this package is where the
 program is published, by those who write it. make dist makes the .orig
 tarballs out of the repository that this source package shows.
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

# What Cargo.toml does not say: the licence and owners of a crate, or of a folder in it, read from the files themselves.
# Owners that are None are taken from the files' first lines.
BY_HAND = {
    "ring": ("ISC and Apache-2.0", None),
    "ring/src/polyfill/once_cell": ("Expat or Apache-2.0", ["The once_cell developers"]),
    "libsqlite3-sys/sqlite3": ("public-domain", ["None: D. Richard Hipp and the SQLite authors disclaim it"]),
    "libsqlite3-sys/sqlcipher": ("BSD-3-clause and public-domain", ["2008-2020 Zetetic LLC", "None for SQLite's part of sqlite3.c"]),
}

# How the licence files of folders begin, or go on.
FIRST_WORDS = {
    "Apache License": "Apache-2.0",
    "Permission is hereby granted, free of charge": "Expat",
    "Permission to use, copy, modify": "ISC",
}

# What debian/dist leaves behind.
LEFT_OUT = {"tests", "test-data", "benches", "examples", "fuzz"}

TEXTS = pathlib.Path(__file__).parent / "licenses"


def packages(*options):
    """All packages of Cargo.lock but our own, with their Cargo.toml's fields, on every platform unless the options say which."""
    out = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1", "--all-features", *options],
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


def is_licence(file):
    return file.is_file() and re.match(r"(?i)(un)?(licen[cs]e|copying|copyright|notice)", file.name)


def claims(files, lines_max=None):
    """Who says `Copyright …` in these files."""
    lines = []
    for file in files:
        for line in file.read_text(errors="replace").splitlines()[:lines_max]:
            match = re.match(r"[\s/*#;.!-]*(?:Portions )?Copyright\s+(?:(?:\(c\)|©|&copy;)\s*)?(.*\w.*)", line, re.I)
            if not match:
                continue
            owner = re.sub(r"^(?:\(c\)|©)\s*|\s*All rights reserved\.?$|[.,;]+$", "", match[1].strip(), flags=re.I)
            boilerplate = r"notice|owner|license|\[yyyy\]|\{yyyy\}|holder|statement|interest|and related|law|YYYY"
            if owner and not re.search(boilerplate, owner, re.I) and owner not in lines:
                lines.append(owner)
    return lines


def folder_of(package):
    return pathlib.Path(package["manifest_path"]).parent


def owners(package):
    """Copyright lines of the crate's licence files, else its authors."""
    lines = claims(file for file in sorted(folder_of(package).iterdir()) if is_licence(file))
    authors = [re.sub(r"\s*<.*", "", author) for author in package["authors"]]
    return lines or authors or ["The %s developers" % package["name"]]


def header_owners(folder):
    """Who is named at the top of a crate's files, without the years, which differ from file to file."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and not inner(folder, file).parts[0] in LEFT_OUT)
    names = (re.sub(r"^[\d, -]+(?:and \d+)?", "", name).strip(" ,.") for name in claims(files, 20))
    return sorted({name for name in names if name}, key=str.lower)


def inner(folder, file):
    return file.relative_to(folder)


def parts(name, package):
    """The folders within a crate that came from elsewhere: (path, licence, owners)."""
    folder = folder_of(package)
    found = {file.parent for file in folder.rglob("*") if is_licence(file)} - {folder}
    found.update(folder / key.split("/", 1)[1] for key in BY_HAND if key.startswith(name + "/"))
    for path in sorted(found):
        within = inner(folder, path)
        if within.parts[0] in LEFT_OUT:
            continue
        licence, people = BY_HAND.get("%s/%s" % (name, within), (None, None))
        files = [file for file in sorted(path.iterdir()) if is_licence(file)]
        text = "\n".join(file.read_text(errors="replace") for file in files)
        known = [licence for words, licence in FIRST_WORDS.items() if words in text]
        if not licence and len(known) != 1:
            raise SystemExit("debian/copyright.py: read the licence of %s and say it in BY_HAND" % path)
        yield within, licence or known[0], people or claims(files)


def folded(field, values):
    """A DEP-5 field with one value a line."""
    return "%s: %s" % (field, ("\n" + " " * (len(field) + 2)).join(values))


def stanza(files, people, licence):
    return "%s\n%s\nLicense: %s\n" % (folded("Files", files), folded("Copyright", people), licence)


def stanzas(name, versions):
    """What there is to say of a crate, and the licences it speaks of."""
    people = []
    for package in versions:
        people += [owner for owner in owners(package) if owner not in people]
    licence, by_hand = BY_HAND.get(name, (None, None))
    licence = licence or expression(versions[-1])
    files = ["vendor/%s/*" % name]
    # cargo vendor puts the newest version into the folder without a number.
    files += ["vendor/%s-%s/*" % (name, package["version"]) for package in versions[:-1]]
    if name in BY_HAND:
        by_hand = by_hand or header_owners(folder_of(versions[-1]))
    texts, used = [stanza(files, by_hand or people, licence)], [licence]
    for within, licence, people in parts(name, versions[-1]):
        texts.append(stanza(["vendor/%s/%s/*" % (name, within)], people, licence))
        used.append(licence)
    return texts, {word for licence in used for word in re.split(r",? (?:or|and) ", licence)}


def check():
    """Whether debian/copyright has what the crates say that a build on this machine brought here; without a network."""
    compiler = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    here = packages("--offline", "--filter-platform", re.search(r"^host: (.*)$", compiler, re.M)[1])
    locked = re.findall(r'^name = "(.*)"$', (TEXTS.parents[1] / "Cargo.lock").read_text(), re.M)
    # One of several versions may be for other platforms alone.
    whole = [(name, versions) for name, versions in here if len(versions) == locked.count(name)]
    written = (TEXTS.parent / "copyright").read_text().split("\n\n")
    missing = [text for name, versions in whole for text in stanzas(name, versions)[0] if text.strip() not in written]
    if missing:
        raise SystemExit("debian/copyright lacks what the crates say; run make copyright:\n\n" + "\n".join(missing))
    print("debian/copyright has what %d crates say" % len(whole))


def main():
    print(HEAD)
    used = {"Expat"}
    for name, versions in packages():
        texts, licences = stanzas(name, versions)
        print("\n".join(texts))
        used |= licences
    print("Files: debian/*\nCopyright: 2026 the jabber developers\nLicense: Expat\n")
    for licence in sorted(used):
        text = (TEXTS / (licence.replace(" ", "-") + ".txt")).read_text()
        print("License: %s" % licence)
        for line in text.strip().splitlines():
            print(" " + line if line.strip() else " .")
        print()


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else main()
