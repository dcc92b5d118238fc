#!/usr/bin/env python3
"""Makes the launcher's jar from its class files: the same bytes for the same classes, whenever it runs.

    make_jar.py FOLDER-OF-CLASSES OUT.jar
"""
import pathlib
import sys
import zipfile

classes = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED, compresslevel=9) as jar:
    entries = [("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nMain-Class: rayx.Launcher\r\n\r\n")]
    entries += [(str(path.relative_to(classes)), path.read_bytes()) for path in sorted(classes.rglob("*.class"))]
    for name, content in entries:
        info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        jar.writestr(info, content)
