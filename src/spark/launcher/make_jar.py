#!/usr/bin/env python3
"""Compiles the launcher and makes its jar: the same bytes from the same javac, whenever it runs.

    make_jar.py JAVAC SOURCE OUT.jar
"""
import pathlib
import subprocess
import sys
import tempfile
import zipfile

javac, source, out = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    # Class files of Java 8, and nothing of Java's library that came later. -Xlint: newer compilers call 8 obsolete.
    subprocess.run([javac, "--release", "8", "-g:none", "-nowarn", "-Xlint:-options", "-d", folder, source], check=True)
    entries = [("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nMain-Class: rayx.Launcher\r\n\r\n")]
    entries += [(str(path.relative_to(folder)), path.read_bytes()) for path in sorted(pathlib.Path(folder).rglob("*.class"))]
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as jar:
    for name, content in entries:
        info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        jar.writestr(info, content)
